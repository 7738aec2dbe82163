"""Commands that end in each way a command can end: what the tests of the frame call."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from holdfast import errors
from holdfast.cli.invocation import Invocation

CANARY = "canary-3f9a-do-not-show"


def say(ctx: typer.Context, word: Annotated[str, typer.Argument(help="A word.")] = "done") -> None:
    """Say a word and what the options of every command were."""
    run = Invocation.of(ctx)
    run.output.say("this is talk")
    options = {"config": run.config, "repository": run.repository, "quiet": run.quiet, "verbose": run.verbose}
    run.output.emit("said", {"word": word, **options}, lambda: word)


def fail(ctx: typer.Context, name: Annotated[str, typer.Argument(help="The error's class.")]) -> None:
    """Raise an error of the tree."""
    raise getattr(errors, name)("it went wrong", hint="do this next", details=("first", "second"))


def break_down(ctx: typer.Context) -> None:
    """Raise what nobody expected, with a secret at hand."""
    passphrase = CANARY
    raise ZeroDivisionError(len(passphrase))


def interrupt(ctx: typer.Context, name: Annotated[str, typer.Argument(help="The signal.")]) -> None:
    """Receive a signal."""
    os.kill(os.getpid(), getattr(signal, name))
    sys.stdout.write("not ended by it\n")
    sys.stdout.flush()
    signal.pause()


def misunderstand(ctx: typer.Context) -> None:
    """Make another error of an interruption, as extension modules do while they are imported."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        raise ImportError("failed to import") from None


def flood(ctx: typer.Context) -> None:
    """Print more than a pipe holds."""
    for _ in range(100_000):
        sys.stdout.write("a line that nobody reads\n")


def work(ctx: typer.Context) -> None:
    """Report some progress."""
    run = Invocation.of(ctx)
    with run.reporter() as reporter:
        reporter.phase("copying files", total_bytes=4 << 20)
        reporter.advance(1 << 20)
        reporter.notice("a remark")
        reporter.warning("a warning")
