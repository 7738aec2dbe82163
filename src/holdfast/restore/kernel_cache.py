"""Looking at a file where it lies in the page cache, without copying it.

Only what is in memory: a page of a mapping that has to be read, and cannot be, kills the process (mmap(2), SIGBUS), and
a copy is looked at because its disk may be failing. A page that could not be read does not count as in memory. To who
could not write to a file the kernel says that all of it is (mm/mincore.c, can_do_mincore), so we ask for that right.
What remains: a page that the kernel gives up just afterwards is read again, and a file that somebody cuts off in these
milliseconds ends the process, before anything is changed.
"""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_IS_RESIDENT = 1  # mincore(2); the other bits are reserved


def cached_content(descriptor: int, offset: int, length: int) -> memoryview | None:
    """Return a part of a file (``offset`` in bytes, a multiple of the page size) as it is in memory.

    None when not all of it is there or nobody tells us, when the file is shorter, or when it cannot be mapped.
    """
    if not os.access(f"/proc/self/fd/{descriptor}", os.W_OK):
        return None
    try:
        mapping = mmap.mmap(descriptor, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=offset)
    except (OSError, ValueError):
        return None
    pages = np.zeros(-(-length // mmap.PAGESIZE), dtype=np.uint8)
    address = np.frombuffer(mapping, dtype=np.uint8).ctypes.data
    if _libc.mincore(address, length, pages.ctypes.data) != 0 or not (pages & _IS_RESIDENT).all():
        return None
    return memoryview(mapping)
