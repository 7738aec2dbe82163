"""The memory in which the object of a WAL file is put together before it is stored in one piece.

It begins at a page, so that storing it can bypass the page cache, and is used again by its thread: fresh memory costs a
fault for every page. A large object (segments have up to 1 GiB) lies in an unnamed file, of which only what was touched
in the last moments is in this process's memory: a storage takes an object as one buffer.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import NoSpaceError, StorageError, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY_LIMIT_BYTES = 48 << 20
_LET_GO_EVERY_S = 0.02


class _Kept(threading.local):
    """This thread's memory from the last time."""

    memory: mmap.mmap | None = None


_kept = _Kept()


@contextmanager
def room(size_bytes: int, scratch: str | None) -> Iterator[memoryview]:
    """Give memory of at least ``size_bytes``, to one user in a thread at a time; what it holds is from the last time.

    ``scratch`` is where a large one's file is made, None for the system's directory. NoSpaceError, StorageError.
    """
    if size_bytes <= IN_MEMORY_LIMIT_BYTES:
        yield memoryview(_kept_memory(size_bytes))
        return
    memory = mapped_file(size_bytes, scratch or _system_directory(), "an object")
    is_done = threading.Event()
    letting_go = threading.Thread(target=_let_go, args=(memory, is_done), name="wal-room", daemon=True)
    letting_go.start()
    try:
        yield memoryview(memory)
    finally:
        is_done.set()
        letting_go.join()


def _kept_memory(size_bytes: int) -> mmap.mmap:
    if _kept.memory is None or len(_kept.memory) < size_bytes:
        _kept.memory = mmap.mmap(-1, max(size_bytes, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return _kept.memory


def _let_go(memory: mmap.mmap, is_done: threading.Event) -> None:
    """Take the file's pages out of this process again and again; what was written stays in the file.

    A thread, as an upload reads the whole object in one call of a library, and gives nobody a turn between two parts.
    It runs while such calls do, as they let go of Python's lock: 56 MiB with 12 busy processes on two cores.
    """
    while not is_done.wait(_LET_GO_EVERY_S):
        memory.madvise(mmap.MADV_DONTNEED)


def _system_directory() -> str:
    import tempfile

    return tempfile.gettempdir()


def mapped_file(size_bytes: int, directory: str, what: str, hint: str | None = None) -> mmap.mmap:
    """Return an unnamed file of so many bytes, all of them allocated, as memory.

    NoSpaceError and StorageError say what there is no room for, and give the hint.
    """
    import tempfile  # costs a cold push milliseconds

    try:
        with tempfile.TemporaryFile(dir=directory, prefix="wal-") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)  # a full disk shows here, and not as SIGBUS later
            return mmap.mmap(file.fileno(), size_bytes)
    except OSError as error:
        kind = NoSpaceError if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageError
        raise kind(f"no room for {what} of {size_bytes} bytes in {directory}: {reason_of(error)}", hint=hint) from error
