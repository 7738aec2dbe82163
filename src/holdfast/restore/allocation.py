"""Blocks for a file before its content is written: a full disk is found early, and direct writes run side by side.

``os.posix_fallocate`` would not do: where the file system cannot allocate, the C library writes into every block.
"""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_CANNOT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def allocate(descriptor: int, length_bytes: int) -> None:
    """Allocate blocks for the first ``length_bytes`` of a file; what it holds stays. OSError when there is no room.

    Where the file system cannot (fallocate(2): EOPNOTSUPP), nothing is done.
    """
    while _libc.fallocate(descriptor, 0, 0, length_bytes) != 0:
        number = ctypes.get_errno()
        if number in _CANNOT:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
