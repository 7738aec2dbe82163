"""What pydantic found wrong, in words for the person who wrote the file: where, what, and the nearest right key."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from holdfast.config.base import ENDPOINT_PATTERN, NAME_HINT, NAME_PATTERN, SLOT_PATTERN
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from holdfast.config.document import Document, Location, Place

_TYPE_NAMES = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "path_type": "a path",
    "is_instance_of": "a path",
    "time_delta_type": "a duration",
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


@dataclass(frozen=True, slots=True, order=True)
class Complaint:
    """One thing that is wrong, at its place; complaints sort in the order of the file."""

    line: int
    column: int
    words: str
    hint: str | None = None


def config_error(document: Document, errors: Iterable[ErrorDetails], schema: Mapping[str, Any]) -> ConfigError:
    """Return one error that tells all complaints: the first as its message, the others as details."""
    complaints = sorted(
        {_complaint(document, error, schema) for error in errors}, key=lambda each: (each.line, each.column)
    )
    lines = [f"{document.path}:{each.line}:{each.column}: {each.words}" for each in complaints]
    rest = tuple(
        line if each.hint is None else f"{line} ({each.hint})"
        for line, each in zip(lines[1:], complaints[1:], strict=True)
    )
    return ConfigError(
        lines[0], details=rest, hint=complaints[0].hint or "docs/reference/configuration.md tells every key"
    )


def _complaint(document: Document, error: ErrorDetails, schema: Mapping[str, Any]) -> Complaint:
    location = _in_document(document, error)
    words, hint = _words(location, error, schema)
    place = _place(document, location, error["type"])
    return Complaint(place.line, place.column, words, hint)


def _in_document(document: Document, error: ErrorDetails) -> Location:
    """Return pydantic's location without what only pydantic knows: the tags of unions, ``[key]``."""
    location: Location = ()
    for part in error["loc"]:
        if (*location, part) in document.values:
            location = (*location, part)
    if error["type"] == "missing":
        location = (*location, error["loc"][-1])
    return location


def _place(document: Document, location: Location, kind: str) -> Place:
    if kind == "extra_forbidden" and location in document.keys:
        return document.keys[location]
    while location and location not in document.values:
        location = location[:-1]
    return document.keys.get(location, document.values[location]) if kind == "missing" else document.values[location]


def _words(location: Location, error: ErrorDetails, schema: Mapping[str, Any]) -> tuple[str, str | None]:
    kind, context = error["type"], error.get("ctx", {})
    name = ".".join(map(str, location)) or "the file"
    if kind == "mistake":
        return f"{name}: {context['message']}", context["hint"]
    if kind == "extra_forbidden":
        return _unknown_key(location, schema)
    if kind == "missing":
        return f"{'.'.join(map(str, location[:-1])) or 'the file'}: the key {location[-1]!r} is missing", None
    if kind in _TYPE_NAMES:
        found = _FOUND_NAMES.get(type(error["input"]), "nothing")
        is_quotable = kind == "string_type" and found.startswith(("a number", "true"))
        return f"{name}: expected {_TYPE_NAMES[kind]}, found {found}", "put it in quotes" if is_quotable else None
    if kind == "literal_error":
        return _unknown_word(name, error["input"], context["expected"])
    return _out_of_bounds(name, error)


def _out_of_bounds(name: str, error: ErrorDetails) -> tuple[str, str | None]:
    """Complain of a value of the right type that a bound or a pattern refuses."""
    if error["type"] == "string_pattern_mismatch":
        return f"{name}: {error['input'][:80]!r} does not fit", _PATTERNS.get(error["ctx"]["pattern"])
    message = error["msg"]
    return f"{name}: {message[:1].lower() + message[1:]}", None


def _unknown_word(name: str, given: object, expected: str) -> tuple[str, str]:
    """Complain of a word that is none of those allowed; ``expected`` is pydantic's list, each in quotes."""
    if expected == "True":
        return f"{name}: expected true", "write true, or leave the key out"
    if not isinstance(given, str):
        return f"{name}: expected {expected}", f"write {expected}"
    near = get_close_matches(given, expected.replace("'", "").replace(" or ", ", ").split(", "), n=1, cutoff=0.5)
    return f"{name}: expected {expected}", f"did you mean {near[0]!r}?" if near else f"write {expected}"


def _unknown_key(location: Location, schema: Mapping[str, Any]) -> tuple[str, str | None]:
    known = known_keys(schema, location[:-1])
    near = get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    words = f"unknown key {'.'.join(map(str, location))!r}"
    return words, f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def known_keys(schema: Mapping[str, Any], location: Location) -> list[str]:
    """Return the keys that a mapping of the stack file may have, from the JSON Schema of the whole."""
    nodes = [schema]
    for part in location:
        nodes = [step for node in nodes for each in _alternatives(schema, node) for step in _descend(each, part)]
    return sorted({key for node in nodes for each in _alternatives(schema, node) for key in each.get("properties", {})})


def _alternatives(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Follow references, ``anyOf`` and ``oneOf`` to the plain schemas behind them."""
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    return [each for choice in choices for each in _alternatives(schema, choice)] or [node]


def _descend(node: Mapping[str, Any], part: str | int) -> list[Mapping[str, Any]]:
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    for inner in ("additionalProperties", "items"):
        if isinstance(node.get(inner), dict):
            return [node[inner]]
    return list(node.get("patternProperties", {}).values())
