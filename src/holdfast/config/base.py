"""What all models of the stack file share: strictness, and errors that carry a HINT.

Strict means that YAML's own type must fit: ``threads: "4"`` and ``stack: 5`` are mistakes, not conversions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError


class ConfigModel(BaseModel):
    """A mapping of the stack file: known keys only, right types only, never changed after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


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
    return Path(directory, Path(path).expanduser()).absolute()


LocalPath = Annotated[Path, BeforeValidator(_local_path)]
"""An absolute path; a relative one in the file starts at the directory of the file."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""The name of a stack, a repository or a service: letters, digits, ``-``, ``_``, ``.``; at most 63."""
