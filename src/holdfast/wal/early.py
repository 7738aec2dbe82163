"""The beginning of a cold push: a thread reads and compresses the file while the rest of Holdfast is imported.

Imports take a cold push half its time, and use one core. So this module comes before all others, and has to do with
what is imported in no time: not even ``typing``, which takes longer than reading a segment. It decides nothing:
whatever goes wrong here is found again, and said, by the ordinary way.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys

from holdfast.thread import Thread

TYPE_CHECKING = False  # mypy knows the name; importing it from typing takes eight milliseconds
if TYPE_CHECKING:
    from holdfast.storage.base import Buffer

LIKELY_LEVEL = 1
# O_NONBLOCK: a FIFO that somebody put there is refused, not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST_BYTES = 64 << 20
_SWITCH_EVERY_S = 0.0005
"""How long imports may keep the interpreter to themselves; Python's 5 ms would hold the thread up at every step."""


class EarlyRead:
    """A file that is read and compressed in a thread; once that was waited for, ``content`` is None if it failed."""

    def __init__(self, path: str) -> None:
        """Begin."""
        self.path = path
        self.content: memoryview | None = None
        self.modified_ns = 0
        self.packed: list[Buffer] = []
        sys.setswitchinterval(_SWITCH_EVERY_S)
        self._thread = Thread(self._work, "wal-early")
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no more threads: then nothing is early
            return

    def wait(self) -> None:
        """Wait until it is done."""
        self._thread.wait()

    def _work(self) -> None:
        try:
            content = self._read()
        except (OSError, ValueError):  # ValueError: it is empty
            return
        if content is None:
            return
        from holdfast.repository.walframes import FrameCompressor, frames_of  # by now the other thread has it

        compressor = FrameCompressor(LIKELY_LEVEL)
        self.packed = [compressor.compress(frame) for frame in frames_of(content)]
        self.content = content

    def _read(self) -> memoryview | None:
        """Return the content of the file; None if it is none that is read early.

        It is read to where it stays, in memory that the kernel fills with zeros only as it is touched: filling and
        copying it here would hold up the imports, as Python lets only one thread do that.
        """
        descriptor = os.open(self.path, _READ)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_BYTES:
                return None
            self.modified_ns = found.st_mtime_ns
            content = memoryview(mmap.mmap(-1, found.st_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            is_whole = os.preadv(descriptor, [content], 0) == len(content)
            return content if is_whole else None
        finally:
            os.close(descriptor)
