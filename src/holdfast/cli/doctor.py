"""``holdfast doctor``: will everything that is needed be there?"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from holdfast.operations.doctor.finding import Finding

_STATES = ("ok", "warning", "failed")


def doctor(ctx: typer.Context) -> int:
    """Check everything that a backup and a restore will need, and say how to repair what is wrong."""
    from holdfast.operations.doctor.examine import examine

    run = Invocation.of(ctx)
    counts = Counter(dict.fromkeys(_STATES, 0))
    for finding in examine(run.config, run.repository):
        counts[finding.state.value] += 1
        run.output.emit("examined", finding, partial(_words, finding))
    run.output.emit("examination", dict(counts), lambda: _summary(counts))
    return ExitCode.FAILED if counts["failed"] else ExitCode.DONE


def _words(finding: Finding) -> str:
    lines = [f"{finding.state.value:<8} {finding.subject}: {finding.words}"]
    lines += [f"           {detail}" for detail in finding.details]
    if finding.remedy:
        lines.append(f"         HINT: {finding.remedy}")
    return "\n".join(lines)


def _summary(counts: Counter[str]) -> str:
    if not counts["warning"] and not counts["failed"]:
        return "all is well"
    return f"{text.count(counts['failed'], 'failure')}, {text.count(counts['warning'], 'warning')}"
