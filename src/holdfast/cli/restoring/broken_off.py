"""What a person is told who breaks a restore off: unlike a backup's, the same command does not simply go on with it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TO_RESUME = "the same command with --resume goes on with it: what is there and right is kept"
TO_BEGIN_ANEW = "the files are whole, but not recovered: delete the directory, or name another one, and run it again"


@contextmanager
def saying_how_to_go_on(target: Path, hint: str) -> Iterator[None]:
    """Raise InterruptedRunError with ``hint`` when the block is interrupted after something was put into ``target``."""
    try:
        yield
    except KeyboardInterrupt:
        if not _holds_anything(target):
            raise
        raise InterruptedRunError(f"interrupted; the restore in {target} is not whole", hint=hint) from None


def _holds_anything(target: Path) -> bool:
    return target.is_dir() and bool(os.listdir(target))
