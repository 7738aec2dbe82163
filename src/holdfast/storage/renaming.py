"""Publishing a file where the file system knows no hard links: FAT, some network and user-space file systems.

Kept apart because ``ctypes`` costs milliseconds to import, and ordinary file systems never need it.
"""

from __future__ import annotations

import ctypes
import errno
import os

_RENAME_NOREPLACE = 1  # linux/fs.h
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # link(2): EPERM, "does not support"

_libc = ctypes.CDLL(None, use_errno=True)


def has_no_hard_links(error: OSError) -> bool:
    """Tell whether a refused ``link`` may mean that the file system has none."""
    return error.errno in _NO_LINKS


def rename_to_new(old: str, new: str, directory: int) -> None:
    """Rename within a directory, atomically, unless the new name is taken: renameat2(2), RENAME_NOREPLACE.

    Raises FileExistsError when it is, other OSErrors as the kernel says them.
    """
    failed = _libc.renameat2(directory, os.fsencode(old), directory, os.fsencode(new), _RENAME_NOREPLACE)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)
