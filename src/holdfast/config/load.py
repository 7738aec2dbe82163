"""Finds the stack file, reads it, and refuses it with everything that is wrong with it at once."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.config.document import MAX_FILE_BYTES, parse
from holdfast.config.models import Stack
from holdfast.config.reading import read_model
from holdfast.errors import ConfigError, reason_of

PLACES = (Path("holdfast.yaml"), Path("/etc/holdfast/holdfast.yaml"))


def find_stack_file(explicit: Path | None = None) -> Path:
    """Return the stack file: the one asked for, else $HOLDFAST_CONFIG, else the first of PLACES that exists.

    Raises ConfigError when there is none.
    """
    if explicit is not None:
        return explicit
    if named := os.environ.get("HOLDFAST_CONFIG"):
        return Path(named)
    for place in PLACES:
        if _is_there(place):
            return place
    raise ConfigError(
        f"no stack file: neither {' nor '.join(map(str, PLACES))} exists",
        hint="name one with -c or $HOLDFAST_CONFIG, or let 'holdfast config generate' write one",
    )


def _is_there(place: Path) -> bool:
    """Return whether a stack file is there; a place that may not be looked into counts, and reading it says why."""
    try:
        place.stat()
    except PermissionError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def load_stack(path: Path) -> Stack:
    """Return the stack that a file describes. No secret is read and nothing is connected to.

    Raises ConfigError: its message is the first thing wrong in the file, its details all the others.
    """
    return parse_stack(path, _read(path))


def parse_stack(path: Path, text: str) -> Stack:
    """Return the stack that a text describes; ``path`` is named in complaints and is where relative paths start."""
    return read_model(Stack, parse(path, text))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason_of(error)}", hint=_hint(error)) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: too large for a stack file (above {MAX_FILE_BYTES} bytes)", hint="name the stack file with -c"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", hint="name the stack file with -c, or save it as UTF-8") from error


def _hint(error: OSError) -> str:
    match error:
        case PermissionError():
            return "run holdfast as the account that the file is for (sudo -u postgres …), or let this one read it"
        case IsADirectoryError():
            return "name the stack file itself, not its directory"
        case _:
            return "name the stack file with -c or $HOLDFAST_CONFIG, or let 'holdfast config generate' write one"
