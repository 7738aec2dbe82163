"""Options that may stand with a value or without: ``--read-data`` and ``--read-data=10``.

typer knows flags and options with values, nothing between. So a bare option is given its value before the command
line is parsed; a value is only taken after "=", so that what follows a bare option is never swallowed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from holdfast.cli.values import PlainCommand
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class BareOptionsCommand(PlainCommand):
    """A command with such options; ``bare_values`` says what each means when it stands alone."""

    bare_values: ClassVar[Mapping[str, str]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer names this type privately
        """Parse, with each bare option completed."""
        if not any(param.param_type_name == "argument" for param in self.params):
            self._require_equals_signs(args)
        return super().parse_args(
            ctx, [f"{arg}={self.bare_values[arg]}" if arg in self.bare_values else arg for arg in args]
        )

    def _require_equals_signs(self, args: list[str]) -> None:
        """Raise UsageError for ``--read-data 10``, where the number can be nothing but the option's value."""
        for option, value in pairwise(args):
            if option in self.bare_values and value.isdecimal():
                raise UsageError(f"the value of {option} stands after an equals sign", hint=f"write {option}={value}")
