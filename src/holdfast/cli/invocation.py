"""What holds for one run of the command line, whatever the command: the options that every command takes.

People type ``holdfast --json snapshots`` and ``holdfast snapshots --json``; both are right. So these options are
declared once, attached to every command, and each value given is stored in the one Invocation of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.completion import repository_names
from holdfast.cli.output import JsonOutput, TextOutput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from holdfast.cli.output import Output
    from holdfast.progress import Reporter


@dataclass
class Invocation:
    """The options of this run that are not a command's own; filled in while the command line is parsed."""

    config: Path | None = None
    repository: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0

    @staticmethod
    def of(ctx: typer.Context) -> Invocation:
        """Return the Invocation of the run that ``ctx`` belongs to."""
        return ctx.ensure_object(Invocation)

    @cached_property
    def output(self) -> Output:
        """Where results go; asked for only after the command line is parsed, as ``--json`` decides."""
        if self.json:
            return JsonOutput()
        return TextOutput(is_quiet=self.quiet)

    def reporter(self) -> AbstractContextManager[Reporter]:
        """Return a Reporter for the time of a ``with`` block: rich on a terminal, lines elsewhere, or JSON."""
        from holdfast.cli.progress import open_reporter

        return open_reporter(self)


def remember(ctx: typer.Context, param: typer.CallbackParam, value: object) -> object:
    """Store an option's value in the Invocation when it was given; ``-v -v`` and ``-v … -v`` add up."""
    if not value:
        return value
    invocation = Invocation.of(ctx)
    if param.name == "verbose" and isinstance(value, int):
        invocation.verbose += value
    else:
        setattr(invocation, param.name, value)
    return value


def show_version(ctx: typer.Context, value: bool) -> None:
    """Print the version and end, when ``--version`` is given."""
    if value and not ctx.resilient_parsing:
        from holdfast import __version__

        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


def everywhere(
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            callback=remember,
            expose_value=False,
            help="The stack file. Else $HOLDFAST_CONFIG, ./holdfast.yaml, /etc/holdfast/holdfast.yaml.",
        ),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(
            "-r",
            "--repository",
            metavar="NAME",
            callback=remember,
            expose_value=False,
            autocompletion=repository_names,
            help="The repository, by its name in the stack file. Needed only when there are several.",
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            callback=remember,
            expose_value=False,
            help="Print JSON, one object a line (message_type says what).",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", callback=remember, expose_value=False, help="Print results and errors only."),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            callback=remember,
            expose_value=False,
            help="Say more; with the traceback, where something went wrong.",
        ),
    ] = 0,
) -> None:
    """Declare the options of every command; typer turns this signature into parameters."""
