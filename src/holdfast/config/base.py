"""What all models of the stack file share: strictness, and errors that carry a HINT.

Strict means that YAML's own type must fit: ``threads: "4"`` and ``stack: 5`` are mistakes, not conversions.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class ConfigModel(BaseModel):
    """A mapping of the stack file: known keys only, right types only, never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe each key by the docstring below it.

        Pydantic would do so by itself, but when a model is made: every command would parse the models' source for it.
        """
        schema = handler(core_schema)
        keys = handler.resolve_ref_schema(schema)["properties"]
        for model in cls.__mro__:
            if issubclass(model, ConfigModel):
                for name, text in _docstrings(model).items():
                    keys[cls.model_fields[name].alias or name].setdefault("description", text)
        return schema


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


def mistake(message: str, *, hint: str | None = None) -> PydanticCustomError:
    """Return the error for a value that is of the right type and yet wrong.

    The complaint about the file (``config.complaints``) adds line and column. Neither text may hold a secret.
    """
    return PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint})


def _local_path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise mistake("a path may not be empty")
    return resolve_beside_file(value, info)


def resolve_beside_file(path: str, info: ValidationInfo) -> Path:
    """Return an absolute path: a relative one starts at the directory of the stack file, ``~`` at the user's home."""
    directory = (info.context or {}).get("directory", Path())
    try:
        return Path(directory, Path(path).expanduser()).absolute()
    except RuntimeError:
        raise mistake(f"nobody's home is known as {path.partition('/')[0]}", hint="write the path out") from None


LocalPath = Annotated[Path, BeforeValidator(_local_path)]
"""An absolute path; a relative one in the file starts at the directory of the file."""

ENDPOINT_PATTERN = r"^https?://[^/]+"
SLOT_PATTERN = r"^[a-z0-9_]{1,63}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
NAME_HINT = "letters, digits, '-', '_' and '.'; a letter or digit first; 63 at most"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""The name of a stack, a repository or a service: letters, digits, ``-``, ``_``, ``.``; at most 63."""
