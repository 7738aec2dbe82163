"""Giving memory back: glibc keeps what 16 MiB segments went through, and a resident process is idle most of its life.

``ctypes`` costs milliseconds to import, so only the resident process has this module.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # mallopt(3)

_libc = ctypes.CDLL(None)


def keep_one_arena() -> None:
    """Let all threads take memory from one place: of the others, malloc_trim does not give back the last part."""
    choose = getattr(_libc, "mallopt", None)  # not every C library has it
    if choose is not None:
        choose(_M_ARENA_MAX, 1)


def release_memory() -> None:
    """Return free memory to the system: malloc_trim(3)."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
