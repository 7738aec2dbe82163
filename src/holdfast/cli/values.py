"""The values of options and arguments, without pydantic where they are what most are: text, paths, and not given.

typer has pydantic convert every value, also that of an option that nobody typed, and loading it takes as long as all
else that a short command does. So what needs no conversion gets none here; all else is typer's, as are the complaints.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer._click.core import Command
from typer._coercion import RuntimeParam, build_runtime_param
from typer._param_types import coerce_cli_path
from typer.core import TyperArgument, TyperCommand, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter
    from typer.core import _TyperParameter


class PlainValues(Command):
    """A command, or a group of commands, whose parameters read their values as this module says."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, with ``--help``."""
        found = super().get_params(ctx)
        for each in found:
            if isinstance(each, TyperOption | TyperArgument) and each._runtime_param is None:  # noqa: SLF001
                descriptor = each.type_descriptor
                each._runtime_param = _Plain(descriptor.parameter_info, descriptor.annotation)  # noqa: SLF001
        return found


class PlainCommand(PlainValues, TyperCommand):
    """One that is not a group."""


class _Plain(RuntimeParam):
    """Takes what is of its type already, makes paths, and leaves the rest to typer."""

    def _coerce_value(self, value: Any, param: _TyperParameter, ctx: Context) -> Any:  # noqa: ANN401 - as typer has it
        if self.annotation == list[str]:
            return list(value)
        if self.annotation is Path and value:
            path = coerce_cli_path(value, self.parameter_info, path_type=str, param=param, ctx=ctx)
            return Path(os.fsdecode(path))
        if isinstance(self.annotation, type) and isinstance(value, self.annotation):
            return value
        return build_runtime_param(param.type_descriptor).coerce(value, param, ctx)
