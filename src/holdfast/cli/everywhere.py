"""The options that every command takes, declared once.

People type ``holdfast --json snapshots`` and ``holdfast snapshots --json``; both are right. So these options are
attached to every command, and each value given is stored in the one Invocation of the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.completion import repository_names
from holdfast.cli.invocation import Invocation


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
            readable=False,  # reading it says why not, and what to do
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
