"""One restore at a time in a directory: a second one would write into what the first has finished and a server uses."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold a directory that is there against another restore; BusyError when one is at work."""
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another restore is at work in {target}", hint="wait for its end") from None
        yield
    finally:
        os.close(descriptor)
