"""What holds for one run of the command line, whatever the command: the values of the options that all take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli.output import JsonOutput, TextOutput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import typer

    from holdfast.cli.output import Output
    from holdfast.config.models import Stack
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

    def stack(self) -> Stack:
        """Read the stack file; ConfigError when there is none, or it is wrong."""
        from holdfast.config.load import find_stack_file, load_stack

        return load_stack(find_stack_file(self.config))

    @cached_property
    def output(self) -> Output:
        """Where results go; asked for only after the command line is parsed, as ``--json`` decides."""
        if self.json:
            return JsonOutput()
        return TextOutput(is_quiet=self.quiet)

    def reporter(self) -> AbstractContextManager[Reporter]:
        """Return a Reporter for the time of a ``with`` block: rich on a terminal, lines elsewhere, or JSON."""
        from holdfast.cli.progress import reporting_json, reporting_text, reporting_warnings

        if self.json:
            return reporting_json()
        return reporting_warnings() if self.quiet else reporting_text()
