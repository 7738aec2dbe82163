"""``holdfast demo``: a throw-away cluster, backed up under load, destroyed, restored and proven."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.errors import ExitCode, HoldfastError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.operations.demo.run import DemoReport
    from holdfast.operations.demo.stage import Proof


def demo(
    ctx: typer.Context,
    scale: int = typer.Option(20, "--scale", min=1, metavar="N", help="How much data: about 15 MB times this."),
    keep: bool = typer.Option(False, "--keep", help="Keep the directory, to look at what is in it."),
) -> None:
    """Back up a throw-away PostgreSQL under load, destroy it, restore it, and prove that nothing is missing."""
    from holdfast.operations.demo.run import DemoOptions, run_demo

    run = Invocation.of(ctx)
    _write_line_by_line()
    try:
        report = run_demo(DemoOptions(scale, keep), CommandLineStage(run))
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; what the demo had made is removed") from None
    run.output.emit("demo_finished", _message(report), lambda: _words(report))


class CommandLineStage:
    """Shows the demo as a session at a terminal: each command line, and what the very command prints (a Stage)."""

    def __init__(self, invocation: Invocation) -> None:
        """Speak as loudly as the demo itself was asked to."""
        self._invocation = invocation
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Print a heading."""
        self._chapters += 1
        self.say(f"\n{self._chapters}. {title}")

    def say(self, words: str) -> None:
        """Print a line."""
        if not (self._invocation.json or self._invocation.quiet):
            print(words)  # noqa: T201

    def run(self, arguments: Sequence[str]) -> None:
        """Print a command line, and carry it out in this process."""
        from holdfast import clock

        self.say(f"\n$ holdfast {shlex.join(arguments)}")
        began = clock.monotonic()
        _carry_out(arguments, self._invocation)
        self.say(f"  ({text.duration(clock.monotonic() - began)})")

    def show(self, proof: Proof) -> None:
        """Print what came of a proof."""
        self.say(f"{proof.verdict.value}: {proof.text} ({text.duration(proof.seconds)})")


def _carry_out(arguments: Sequence[str], invocation: Invocation) -> None:
    from holdfast.cli.main import build_app

    nested = Invocation(json=invocation.json, quiet=invocation.quiet, verbose=invocation.verbose)
    outcome = build_app().main(list(arguments), prog_name="holdfast", standalone_mode=False, obj=nested)
    if outcome == ExitCode.INTERRUPTED:  # typer turns KeyboardInterrupt into this
        raise KeyboardInterrupt
    if outcome:
        raise HoldfastError(f"holdfast {shlex.join(arguments)} ended with exit code {outcome}")


def _write_line_by_line() -> None:
    """Keep standard output and standard error in step, also where both go into one pipe."""
    from io import TextIOWrapper

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _message(report: DemoReport) -> dict[str, object]:
    return {
        "proofs": [{"verdict": proof.verdict.value, "text": proof.text} for proof in report.proofs],
        "directory": str(report.directory) if report.directory else None,
        "seconds": round(report.seconds, 3),
    }


def _words(report: DemoReport) -> str:
    if report.directory is None:
        left = "everything that the demo made is removed"
    else:
        left = f"kept in {report.directory}: the stack file, the repository and the restored data directory"
    return f"\ndone in {text.duration(report.seconds)}; {left}"
