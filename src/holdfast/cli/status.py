"""``holdfast status``: the stack at a glance."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.cli.wal.status import window_words
from holdfast.cli.wal.status_message import window_message
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.operations.status import ServiceStatus
    from holdfast.restore.staging import StagedRestore


def status(ctx: typer.Context) -> int:
    """Show each service: its last snapshot, its window of recovery, and what is wrong; exit code 3 if anything is."""
    from holdfast.operations.status import status as operation

    run = Invocation.of(ctx)
    outcome = ExitCode.DONE
    for found in operation(run.stack(), run.repository):
        run.output.emit("service_status", _message(found), partial(_words, found))
        outcome = ExitCode.PARTIAL if found.alerts else outcome
    return outcome


def _message(found: ServiceStatus) -> dict[str, object]:
    return {
        "service": found.wal.service,
        "server_is_up": found.wal.server is not None,
        "snapshots": None if found.wal.repository_error else len(found.wal.snapshots),
        "last_snapshot": {"id": found.last.id, "started": found.last.started} if found.last else None,
        "window": window_message(found.window) if found.window else None,
        "lag_bytes": found.wal.lag.size_bytes if found.wal.lag else None,
        "checkpoints": [
            {"id": each.id, "made": each.made, "directory": each.parked.directory, "description": each.description}
            for each in found.checkpoints
        ],
        "staged": _staged_message(found.leftover) if found.leftover else None,
        "alerts": list(found.alerts),
    }


def _staged_message(leftover: StagedRestore) -> dict[str, object]:
    return {"begun": leftover.begun, "directory": leftover.parked.directory}


def _words(found: ServiceStatus) -> str:
    lines = [found.wal.service, *(f"  {title:<11}{words}" for title, words in _rows(found))]
    lines += [f"  ALERT      {alert.words}\n             HINT: {alert.remedy}" for alert in found.alerts]
    return "\n".join(lines)


def _rows(found: ServiceStatus) -> Iterator[tuple[str, str]]:
    error = found.wal.server_error
    yield "server", "answers" if error is None else f"does not answer: {error.message}"
    yield "snapshot", _last_snapshot(found)
    if found.window is not None:
        yield "window", window_words(found.window)
    if found.wal.lag is not None:
        yield "lag", text.size(found.wal.lag.size_bytes)
    for each in found.checkpoints:
        made = text.when(each.made)
        yield "checkpoint", f"{each.short_id} in {each.parked.directory}, made {made}: {each.description}"
    if found.leftover is not None:
        yield "staged", _staged_words(found.leftover, found.wal.service)


def _staged_words(leftover: StagedRestore, service: str) -> str:
    begun = text.when(leftover.begun)
    return (
        f"in {leftover.parked.directory}, by a restore begun {begun} that is at work or was cut off: "
        f"'holdfast restore {service}' goes on with it, --drop-checkpoint --checkpoint {leftover.short_id} deletes it"
    )


def _last_snapshot(found: ServiceStatus) -> str:
    if found.wal.repository_error is not None:
        return "not known: the repository cannot be asked"
    if found.last is None:
        return "none is complete: run 'holdfast backup'"
    return f"{found.last.short_id}, taken {text.when(found.last.started)}"
