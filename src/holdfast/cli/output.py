"""Where a command's results go: to people as text, or to programs as JSON, one object a line.

A command builds one frozen dataclass per result and hands it over together with the way to put it into words;
which of the two is used is decided here and nowhere else. Results go to standard output, all else to standard error.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from holdfast.cli.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.errors import HoldfastError

T = TypeVar("T")
JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


@dataclass(frozen=True)  # without slots: Column[Row](…) sets an attribute of typing's own
class Column(Generic[T]):
    """One column of a table: its title, the cell of a row as text, and whether it is a number (set to the right)."""

    title: str
    cell: Callable[[T], str]
    is_number: bool = False


class Output(Protocol):
    """What a command may say. ``payload`` is a dataclass or a mapping; JSON shows all of it under ``message_type``."""

    def emit(self, message_type: str, payload: object, text: Callable[[], str]) -> None:
        """Give one result; ``text`` puts it into words for people and is not called in JSON mode."""
        ...

    def table(
        self,
        message_type: str,
        rows: Iterable[T],
        columns: Sequence[Column[T]],
        message: Callable[[T], object],
    ) -> None:
        """Give many results of one kind: one table, or the payload that ``message`` makes of each."""
        ...

    def say(self, text: str) -> None:
        """Tell people what is happening; programs and ``-q`` do not see it."""
        ...

    def error(self, error: HoldfastError) -> None:
        """Say what went wrong and what to do next."""
        ...


class TextOutput:
    """Speaks to people."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet

    def emit(self, message_type: str, payload: object, text: Callable[[], str]) -> None:
        """Print the words."""
        print(harmless(text()))  # noqa: T201

    def table(
        self,
        message_type: str,
        rows: Iterable[T],
        columns: Sequence[Column[T]],
        message: Callable[[T], object],
    ) -> None:
        """Print a table: bold titles on a terminal, plain aligned columns elsewhere."""
        cells = [[harmless(column.cell(row)).replace("\n", "\\n") for column in columns] for row in rows]
        for number, line in enumerate(_aligned(cells, columns)):
            is_title_on_terminal = number == 0 and sys.stdout.isatty()
            print(f"\033[1m{line}\033[0m" if is_title_on_terminal else line)  # noqa: T201

    def say(self, text: str) -> None:
        """Print to standard error, unless told to be quiet."""
        if not self._is_quiet:
            print(harmless(text), file=sys.stderr)  # noqa: T201

    def error(self, error: HoldfastError) -> None:
        """Print ``error: …``, the details indented, and the HINT."""
        lines = [f"error: {error.message}", *(f"  {detail}" for detail in error.details)]
        if error.hint:
            lines.append(f"HINT: {error.hint}")
        print(harmless("\n".join(lines)), file=sys.stderr)  # noqa: T201


class JsonOutput:
    """Speaks to programs. Each kind of message has its schema in docs/reference/json."""

    def emit(self, message_type: str, payload: object, text: Callable[[], str]) -> None:
        """Print one object."""
        write_message(message_type, payload)

    def table(
        self,
        message_type: str,
        rows: Iterable[T],
        columns: Sequence[Column[T]],
        message: Callable[[T], object],
    ) -> None:
        """Print one object a row."""
        for row in rows:
            write_message(message_type, message(row))

    def say(self, text: str) -> None:
        """Say nothing: this is not a result."""

    def error(self, error: HoldfastError) -> None:
        """Print one ``error`` object, with the exit code that follows."""
        payload = {
            "exit_code": int(error.exit_code),
            "error": type(error).__name__,
            "message": error.message,
            "details": list(error.details),
            "hint": error.hint,
        }
        write_message("error", payload)


def write_message(message_type: str, payload: object) -> None:
    """Print one JSON message; the line is written whole and flushed, so that a reader sees it at once."""
    import json

    content = plain(payload)
    assert isinstance(content, dict)
    sys.stdout.write(json.dumps({"message_type": message_type, **content}) + "\n")
    sys.stdout.flush()


def plain(value: object) -> JsonValue:
    """Return a value in JSON's own types.

    Dataclasses become objects, instants ISO 8601 in UTC, spans seconds, enums their values. Bytes (file names)
    become text; a byte that is no UTF-8 becomes a lone surrogate (``\\udcXX``), as Python's ``surrogateescape`` does.
    """
    from datetime import UTC, datetime, timedelta
    from enum import Enum

    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "surrogateescape")
    return _plain_collection(value)


def _plain_collection(value: object) -> JsonValue:
    from collections.abc import Iterable, Mapping

    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def _aligned(cells: list[list[str]], columns: Sequence[Column[Any]]) -> Iterable[str]:
    titles = [column.title for column in columns]
    widths = [max(map(len, pile)) for pile in zip(titles, *cells, strict=True)]
    for row in [titles, *cells]:
        padded = (
            text.rjust(width) if column.is_number else text.ljust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        )
        yield "  ".join(padded).rstrip()
