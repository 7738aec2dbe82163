"""What is wrong with a stack file, in words for the person who wrote it: where, what, and the nearest right key."""

from __future__ import annotations

from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from holdfast.config.base import ENDPOINT_PATTERN, NAME_HINT, NAME_PATTERN, SLOT_PATTERN
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.config.base import MistakeError
    from holdfast.config.document import Document, Location, Place

_TYPE_NAMES: dict[type, str] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
    Path: "a path",
    timedelta: "a duration",
}
_PATTERNS = {
    NAME_PATTERN: NAME_HINT,
    ENDPOINT_PATTERN: "an endpoint is like https://s3.example.org",
    SLOT_PATTERN: "PostgreSQL's slots are named with a-z, 0-9 and '_', 63 at most",
}
_FOUND_NAMES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
}


class Complaint(Struct, frozen=True):
    """One thing that is wrong, at its place."""

    line: int
    column: int
    words: str
    hint: str | None = None


class Complaints:
    """All that is wrong with a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: list[Complaint] = []

    def error(self) -> ConfigError:
        """Return one error that tells them all: the first in the file as its message, the others as details."""
        found = sorted(dict.fromkeys(self._found), key=lambda each: (each.line, each.column))
        lines = [f"{self._document.path}:{each.line}:{each.column}: {each.words}" for each in found]
        rest = tuple(
            line if each.hint is None else f"{line} ({each.hint})"
            for line, each in zip(lines[1:], found[1:], strict=True)
        )
        hint = found[0].hint or "docs/reference/configuration.md tells every key"
        return ConfigError(lines[0], details=rest, hint=hint)

    def of_mistake(self, at: Location, mistake: MistakeError) -> None:
        """Complain of a value of the right type that is wrong."""
        self._say(at, str(mistake), mistake.hint)

    def of_type(self, at: Location, expected: type, value: object) -> None:
        """Complain of a value of the wrong type."""
        found = _FOUND_NAMES.get(type(value), "nothing")
        is_quotable = expected is str and found.startswith(("a number", "true"))
        self._say(at, f"expected {_TYPE_NAMES[expected]}, found {found}", "put it in quotes" if is_quotable else None)

    def of_word(self, at: Location, allowed: Sequence[object], value: object) -> None:
        """Complain of a value that is none of those allowed."""
        if True in allowed:
            self._say(at, "expected true", "write true, or leave the key out")
            return
        quoted = [repr(each) for each in allowed]
        expected = " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
        near = get_close_matches(value, map(str, allowed), n=1, cutoff=0.5) if isinstance(value, str) else []
        self._say(at, f"expected {expected}", f"did you mean {near[0]!r}?" if near else f"write {expected}")

    def of_pattern(self, at: Location, pattern: str, value: str) -> None:
        """Complain of a text that does not fit."""
        self._say(at, f"{value[:80]!r} does not fit", _PATTERNS.get(pattern))

    def of_length(self, at: Location, least: int) -> None:
        """Complain of what has too few characters or items."""
        self._say(at, "may not be empty" if least == 1 else f"expected {least} at least")

    def of_bound(self, at: Location, bound: str) -> None:
        """Complain of a number beyond a bound."""
        self._say(at, f"expected {bound}")

    def of_unknown_key(self, at: Location, known: Iterable[str]) -> None:
        """Complain of a key that there is not."""
        near = get_close_matches(str(at[-1]), known := sorted(known), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        self._note(self._document.keys[at], f"unknown key {'.'.join(map(str, at))!r}", hint)

    def of_missing_key(self, at: Location, key: str) -> None:
        """Complain of a mapping that lacks a key."""
        place = self._document.keys.get(at, self._document.values[at])
        self._note(place, f"{_name(at)}: the key {key!r} is missing", None)

    def _say(self, at: Location, words: str, hint: str | None = None) -> None:
        self._note(self._document.values[at], f"{_name(at)}: {words}", hint)

    def _note(self, place: Place, words: str, hint: str | None) -> None:
        self._found.append(Complaint(place.line, place.column, words, hint))


def _name(at: Location) -> str:
    return ".".join(map(str, at)) or "the file"
