"""Giving memory back: glibc keeps what 16 MiB segments went through, and a resident process is idle most of its life.

``ctypes`` costs milliseconds to import, so only the resident process has this module.
"""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None)


def release_memory() -> None:
    """Return free memory to the system: malloc_trim(3), where the C library has it."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
