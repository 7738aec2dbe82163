"""Making what was written durable: the content by file system, names by directory."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from holdfast.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def sync_file_systems(paths: Iterable[Path]) -> None:
    """Make all that was written durable: one syncfs(2) for each file system. StorageError when one reports a fault.

    Since Linux 5.8 syncfs reports write errors of all files of the file system, as fsync does for one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    seen: set[int] = set()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            device = os.fstat(descriptor).st_dev
            if device not in seen and libc.syncfs(descriptor) != 0:
                reason = os.strerror(ctypes.get_errno())
                raise StorageError(f"{path} could not be made durable: {reason}", hint="look at the disk and its log")
            seen.add(device)
        finally:
            os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in one directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
