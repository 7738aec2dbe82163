"""The JSON Schema of the stack file, from its models: for editors, and for the reference page.

What a key means stands below it in the models' source, where who changes it sees it; it is read from there.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args, get_origin

from msgspec import Meta
from msgspec.structs import fields

from holdfast.config.base import ConfigModel, Written
from holdfast.config.show import plain

if TYPE_CHECKING:
    from msgspec.structs import FieldInfo

Schema = dict[str, Any]

_TYPES = {str: "string", int: "integer", bool: "boolean"}
_LENGTHS = {"string": "minLength", "array": "minItems", "object": "minProperties"}


def json_schema(model: type[ConfigModel]) -> Schema:
    """Return the schema of a model; those of the models that it holds are in its ``$defs``."""
    held: dict[str, Schema] = {}
    schema = _of_model(model, held)
    return {"$defs": dict(sorted(held.items())), **schema}


def _of_model(model: type[ConfigModel], held: dict[str, Schema]) -> Schema:
    keys, meanings = fields(model), _docstrings(model)
    required = [key.name for key in keys if key.required]
    return _sorted(
        {
            **model.SCHEMA,
            **({"required": required} if required else {}),
            "additionalProperties": False,
            "description": inspect.getdoc(model),
            "properties": {key.name: _of_key(key, meanings.get(key.name), held) for key in keys},
            "title": model.__name__,
            "type": "object",
        }
    )


def _of_key(key: FieldInfo, meaning: str | None, held: dict[str, Schema]) -> Schema:
    schema = _of_type(key.type, held)
    if not _names_model(schema):
        schema["title"] = key.name.replace("_", " ").title()
    if meaning:
        schema["description"] = meaning
    if not key.required:
        default = key.default_factory() if callable(key.default_factory) else key.default
        schema["default"] = plain(default, key.type)
    return _sorted(schema)


def _of_type(kind: Any, held: dict[str, Schema]) -> Schema:  # noqa: ANN401 - a type, as typing has it
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _of_annotated(kind, held)
    if origin is Literal:
        return _of_words(parts)
    if parts:
        return _of_parts(origin, [_of_type(part, held) for part in parts if part is not NoneType])
    if issubclass(kind, ConfigModel):
        held.setdefault(kind.__name__, _of_model(kind, held))
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {"type": _TYPES[kind]}


def _of_words(words: tuple[Any, ...]) -> Schema:
    allowed = {"const": words[0]} if len(words) == 1 else {"enum": list(words)}
    return {**allowed, "type": _TYPES[type(words[0])]}


def _of_parts(origin: object, parts: list[Schema]) -> Schema:
    """Return the schema of a list, of a mapping by name, or of what may also be left empty."""
    if origin is list:
        return {"items": parts[0], "type": "array"}
    if origin is dict:
        return _by_name(*parts)
    one = parts[0] if len(parts) == 1 else {"oneOf": parts}
    return {"anyOf": [one, {"type": "null"}]}


def _by_name(name: Schema, value: Schema) -> Schema:
    named = {"patternProperties": {name["pattern"]: value}} if "pattern" in name else {"additionalProperties": value}
    return {**named, "type": "object"}


def _of_annotated(kind: Any, held: dict[str, Schema]) -> Schema:  # noqa: ANN401
    for mark in kind.__metadata__:
        if isinstance(mark, Written):
            return _sorted(dict(mark.schema))
    schema = _of_type(kind.__origin__, held)
    for mark in kind.__metadata__:
        if isinstance(mark, Meta):
            bounds = {
                "pattern": mark.pattern,
                "minimum": mark.ge,
                "maximum": mark.le,
                _LENGTHS.get(schema["type"], ""): mark.min_length,
            }
            schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    return _sorted(schema)


def _names_model(schema: Schema) -> bool:
    """Whether a schema is one model's, whose own title says what it is."""
    return "$ref" in schema or any("$ref" in choice for choice in schema.get("anyOf", ()))


def _sorted(schema: Schema) -> Schema:
    return dict(sorted(schema.items()))


def _docstrings(model: type) -> dict[str, str]:
    """Return the text below each attribute of a class that has one."""
    body = cast("ast.ClassDef", ast.parse(inspect.getsource(model)).body[0]).body
    return {
        attribute.target.id: inspect.cleandoc(text.value.value)
        for attribute, text in itertools.pairwise(body)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
