"""A file that something is written to for the user: new, its owner's alone, and gone again if the work fails."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from holdfast.errors import StorageError, UsageError, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a new file that only its owner may read; it is removed again when the block fails."""
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise is_there(path) from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {reason_of(error)}", hint="name a file where you may write") from error
    try:
        with file:
            yield file
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {path}: {reason_of(error)}", hint="make room there, or name a file elsewhere"
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def is_there(path: Path) -> UsageError:
    """Return the refusal to overwrite a file."""
    return UsageError(f"{path} is there already", hint="name a new file, or remove that one first")
