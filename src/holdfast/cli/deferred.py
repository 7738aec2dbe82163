"""Commands that are imported when they are called: ``holdfast --help`` must not pay for numpy and PostgreSQL.

The table in ``cli.main`` says of each command where it lives and what it does in one line. That is enough for
the help page, for completion and for suggestions after a typing error; the module is imported only to run it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from holdfast.cli.everywhere import everywhere
from holdfast.cli.invocation import Invocation
from holdfast.cli.values import PlainCommand, PlainValues
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Command(NamedTuple):
    """One command: ``"package.module:function"`` and its line of help."""

    target: str
    help: str


class Subcommands(NamedTuple):
    """A command that holds commands (``holdfast key list``), and its line of help."""

    help: str
    commands: Mapping[str, Command]


class DeferredCommand(TyperCommand):
    """Stands for a command until it is called."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.help, short_help=command.help, rich_markup_mode=None)
        self._target = command.target

    def load(self) -> TyperCommand:
        """Import the command's module and return the command itself, with the options of every command added."""
        module, _, function = self._target.partition(":")
        return build_command(self.name or function, getattr(import_module(module), function))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - typer names this type privately
        """Begin the call: from here on the real command is at work."""
        return self.load().make_context(*args, **kwargs)


class Group(PlainValues, TyperGroup):
    """A command that holds commands, and shows its help page when none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer names this type privately
        """Read the options that stand before the command's name."""
        if not args and not ctx.resilient_parsing and not Invocation.of(ctx).json:
            typer.echo(ctx.get_help())
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)


_Function = TypeVar("_Function", bound="Callable[..., object]")
_CLASSES: dict[Callable[..., object], type[TyperCommand]] = {}


def command_class(kind: type[TyperCommand]) -> Callable[[_Function], _Function]:
    """Return a decorator that has a function built as a command of a class of its own."""

    def remember_class(function: _Function) -> _Function:
        _CLASSES[function] = kind
        return function

    return remember_class


def build_command(name: str, function: Callable[..., None]) -> TyperCommand:
    """Return the command that a function's signature and docstring declare."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=_CLASSES.get(function, PlainCommand))(function)
    command = get_command(app)
    assert isinstance(command, TyperCommand)
    command.params.extend(_shared_parameters())
    return command


def build_group(name: str, help_text: str, table: Mapping[str, Command | Subcommands]) -> TyperGroup:
    """Return the group of the commands in a table; nothing of theirs is imported."""
    return Group(
        name=name,
        commands=[_stand_in(entry, what) for entry, what in table.items()],
        help=help_text,
        short_help=help_text.partition("\n")[0],
        params=list(_shared_parameters()),
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )


def _stand_in(name: str, what: Command | Subcommands) -> TyperCommand | TyperGroup:
    match what:
        case Command():
            return DeferredCommand(name, what)
        case Subcommands():
            return build_group(name, what.help, what.commands)


def parameters_of(function: Callable[..., object]) -> list[Any]:
    """Return the parameters that a function's signature declares."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(function)
    return list(get_command(app).params)


@cache
def _shared_parameters() -> tuple[Any, ...]:
    """Return the parameters that every command takes; all groups and the command itself have the same ones."""
    return tuple(parameters_of(everywhere))
