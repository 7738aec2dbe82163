"""What all models of the stack file share, and what the type of a key may say beside the type.

The models are plain classes, filled by ``config.reading``: every command reads the stack file, and a library that
compiles models would cost each of them a tenth of a second. The type of a key is one of Python's, ``X | None``, a list,
a mapping by name, or another model; ``Annotated`` adds bounds (msgspec's Meta) and what follows here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct


class ConfigModel(Struct, frozen=True):
    """A mapping of the stack file: known keys only, right types only, never changed after loading."""

    SCHEMA: ClassVar[Mapping[str, object]] = {}
    """What JSON Schema is to say of the mapping beside its keys."""

    def check(self) -> None:
        """Raise MistakeError where keys do not go together; each of them is right by itself."""


class MistakeError(ValueError):
    """A value is of the right type and yet wrong; the complaint about the file adds line and column.

    Neither message nor HINT may hold a secret.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Before(Struct, frozen=True):
    """What becomes of a plain value before its type is looked at; of one that it cannot mean, nothing.

    ``convert`` is given the value and the directory of the stack file, and raises MistakeError.
    """

    convert: Callable[[object, Path], object]


class After(Struct, frozen=True):
    """The same for a value that has its type."""

    convert: Callable[[Any, Path], object]


class Written(Struct, frozen=True, eq=False):
    """How a value is written that YAML has no type for, and the JSON Schema of that."""

    write: Callable[[Any], str]
    schema: Mapping[str, object]


def _local_path(value: object, directory: Path) -> object:
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise MistakeError("a path may not be empty")
    return resolve_beside_file(value, directory)


def resolve_beside_file(path: str, directory: Path) -> Path:
    """Return an absolute path: a relative one starts at the directory of the stack file, ``~`` at the user's home."""
    try:
        return Path(directory, Path(path).expanduser()).absolute()
    except RuntimeError:
        raise MistakeError(f"nobody's home is known as {path.partition('/')[0]}", hint="write the path out") from None


LocalPath = Annotated[Path, Before(_local_path), Written(str, {"type": "string", "format": "path"})]
"""An absolute path; a relative one in the file starts at the directory of the file."""

ENDPOINT_PATTERN = r"^https?://[^/]+"
SLOT_PATTERN = r"^[a-z0-9_]{1,63}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
NAME_HINT = "letters, digits, '-', '_' and '.'; a letter or digit first; 63 at most"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
"""The name of a stack, a repository or a service: letters, digits, ``-``, ``_``, ``.``; at most 63."""
