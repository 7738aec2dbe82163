"""YAML text to plain values, with the place of each: ``config.reading`` knows what is wrong, this knows where.

A small, strict YAML: no tags, no anchors (no document grows when it is read), no key twice, and only ``true`` and
``false`` are booleans, so that a password called ``no`` or a country called ``NO`` stays text.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from msgspec import Struct
from yaml.composer import ComposerError

from holdfast.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 32
_ANY_HINT = "the file must be YAML: see 'holdfast config schema'"

Location = tuple[str | int, ...]
"""The keys and positions that lead to a value: ``("repositories", "main", "url")``."""


class Place(Struct, frozen=True):
    """A place in the file; both count from 1."""

    line: int
    column: int


class Document(Struct, frozen=True):
    """What a file says and where it says it: ``keys`` for the place of a key, ``values`` for that of its value."""

    path: Path
    content: object
    keys: dict[Location, Place]
    values: dict[Location, Place]


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with few implicit types: null, true/false, integers, decimals; all else is text."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose as PyYAML does, but refuse what would end in a RecursionError."""
        if self._depth == MAX_DEPTH:
            raise ComposerError(None, None, "nested too deeply", self.get_mark())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _starts in [
    ("tag:yaml.org,2002:null", r"~|null|", ["~", "n", ""]),
    ("tag:yaml.org,2002:bool", r"true|false", ["t", "f"]),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("tag:yaml.org,2002:float", r"[-+]?[0-9]+\.[0-9]+", list("-+0123456789")),
]:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _starts)


def parse(path: Path, text: str) -> Document:
    """Return what the text says. Raises ConfigError with line and column."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _unreadable(path, error) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path}: cannot be read as YAML: it holds a character that is not allowed",
            hint="save it as plain text, without control characters",
        ) from error
    except (ValueError, OverflowError) as error:
        hint = "write a character as it is, or '\\U' with the eight digits of its number"
        raise _complaint(path, "an escape sequence names no character", loader.get_mark(), hint) from error
    if root is None:
        raise ConfigError(f"{path}: the file is empty", hint="holdfast config generate writes one")
    return _Builder(path, loader).build(root)


class _Builder:
    """Turns nodes into values and notes the place of each."""

    def __init__(self, path: Path, loader: _Loader) -> None:
        self._path = path
        self._loader = loader
        self._keys: dict[Location, Place] = {}
        self._values: dict[Location, Place] = {}
        self._seen: set[int] = set()

    def build(self, root: yaml.Node) -> Document:
        content = self._value(root, ())
        return Document(self._path, content, self._keys, self._values)

    def _value(self, node: yaml.Node, location: Location) -> object:
        if id(node) in self._seen:
            raise _complaint(
                self._path, "anchors and aliases are not supported", node.start_mark, "write it out where it is meant"
            )
        self._seen.add(id(node))
        self._values[location] = _place(node.start_mark)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, location)
            case yaml.SequenceNode():
                return [self._value(item, (*location, position)) for position, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _complaint(self._path, "a key must be a plain word", key_node.start_mark)
            key = self._text(key_node.value, key_node.start_mark)
            if key in content:
                raise _complaint(
                    self._path, f"the key {key!r} stands here twice", key_node.start_mark, "keep one of the two"
                )
            self._keys[*location, key] = _place(key_node.start_mark)
            content[key] = self._value(value_node, (*location, key))
        return content

    def _scalar(self, node: yaml.Node) -> object:
        try:
            value: object = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise _complaint(self._path, "this value cannot be read", node.start_mark) from error
        return self._text(value, node.start_mark) if isinstance(value, str) else value

    def _text(self, value: str, mark: yaml.Mark) -> str:
        """Return a text of whole characters: JSON escapes one beyond 16 bits as two halves, which YAML leaves so."""
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            problem = "an escape sequence names half a character"
            raise _complaint(self._path, problem, mark, "write the character as it is") from error


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _unreadable(path: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    problem = error.problem or "cannot be read as YAML"
    if r"'\t'" in problem:
        return _complaint(path, "a tab before the words", error.problem_mark, "indent with spaces")
    if problem == "but found another document":
        return _complaint(path, "a second document begins here", error.problem_mark, "a stack file holds one")
    return _complaint(path, problem, error.problem_mark)


def _complaint(path: Path, problem: str, mark: yaml.Mark | None, hint: str = _ANY_HINT) -> ConfigError:
    where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    return ConfigError(f"{path}{where}: {problem}", hint=hint)
