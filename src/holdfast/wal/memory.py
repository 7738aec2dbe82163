"""Giving memory back: glibc keeps what 16 MiB segments went through, and a resident process is idle most of its life.

``ctypes`` costs milliseconds to import, so only the resident process has this module.
"""

from __future__ import annotations

import ctypes

# What mallopt(3) calls them by.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_ON_HEAP_BYTES = 32 << 20
_KEPT_BYTES = 128 << 20

_libc = ctypes.CDLL(None)


def keep_memory() -> None:
    """Keep what was freed, until ``release_memory``: frames of 1 MiB went back to the system and were asked for again.

    All threads take memory from one place: of others, malloc_trim does not give back the last part.
    """
    choose = getattr(_libc, "mallopt", None)  # not every C library has it
    if choose is not None:
        choose(_M_ARENA_MAX, 1)
        choose(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP_BYTES)
        choose(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def release_memory() -> None:
    """Return free memory to the system: malloc_trim(3)."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
