"""The stack as it was understood, in the file's own shape: what ``config show`` prints. No secret is read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import yaml
from msgspec.structs import fields

from holdfast.config.base import ConfigModel, Written
from holdfast.config.secrets import SecretSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack

MASK = "****"


def as_mapping(stack: Stack) -> dict[str, Any]:
    """Return the stack with its defaults filled in, as plain values; of a secret, only where it is.

    The arguments of a secret's command are masked: some programs are given a token that way.
    """
    content: dict[str, Any] = _without_empty(plain(stack, type(stack)))
    for mapping in _mappings(content):
        command = mapping.get("command")
        if isinstance(command, list):
            mapping["command"] = [command[0], *[MASK] * (len(command) - 1)]
    return content


def as_yaml(stack: Stack) -> str:
    """Return the same as YAML."""
    return yaml.safe_dump(as_mapping(stack), sort_keys=False, allow_unicode=True, width=100).rstrip()


def plain(value: object, kind: Any) -> Any:  # noqa: ANN401 - a type, as typing has it, and what is plain of it
    """Return a value of a type in YAML's own types; a model is the mapping of all its keys."""
    match value:
        case ConfigModel():
            return {each.name: plain(getattr(value, each.name), each.type) for each in fields(type(value))}
        case dict():
            return {name: plain(inner, type(inner)) for name, inner in value.items()}
        case None:
            return None
    marks = (mark for each in (kind, *get_args(kind)) for mark in getattr(each, "__metadata__", ()))
    return next((mark.write(value) for mark in marks if isinstance(mark, Written)), value)


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - whatever YAML has
    if not isinstance(value, dict):
        return value
    return {name: _without_empty(inner) for name, inner in value.items() if inner is not None}


def _mappings(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _mappings(inner)


def secret_sources(stack: Stack) -> Iterator[tuple[str, SecretSource]]:
    """Yield every secret of the stack with the keys that lead to it (``repositories.main.passphrase``)."""
    return _secrets_below(stack, "")


def _secrets_below(value: object, path: str) -> Iterator[tuple[str, SecretSource]]:
    match value:
        case SecretSource():
            yield path, value
        case ConfigModel():
            for name in value.__struct_fields__:
                yield from _secrets_below(getattr(value, name), f"{path}.{name}".lstrip("."))
        case dict():
            for name, inner in value.items():
                yield from _secrets_below(inner, f"{path}.{name}")
