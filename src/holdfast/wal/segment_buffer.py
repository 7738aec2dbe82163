"""The memory of a segment while it is received: written once from its start to its end, read while it still grows.

An ordinary segment lies in anonymous memory. A large one (up to 1 GiB) lies in an unnamed file of the spool, so that
the kernel can write it out and memory stays small; the file is gone as soon as nobody uses it, also after a kill.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from holdfast.errors import VerificationError
from holdfast.repository.walframes import InMemory
from holdfast.wal.room import mapped_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment

IN_MEMORY_LIMIT_BYTES = 32 << 20
_LET_GO_EVERY_BYTES = 32 << 20
_NO_ROOM_HINT = "see 'wal: spool:' of the service"


class SegmentBuffer:
    """A segment as far as it has come in. One thread appends; what lies before ``received`` never changes."""

    def __init__(self, segment: Segment, spool: Path) -> None:
        """Make room for the whole segment. NoSpaceError, StorageError where the spool cannot hold a large one."""
        self.segment = segment
        self.received = 0
        self._is_on_disk = segment.size_bytes > IN_MEMORY_LIMIT_BYTES
        if self._is_on_disk:
            self._memory = mapped_file(segment.size_bytes, str(spool), "a segment", _NO_ROOM_HINT)
        else:
            self._memory = mmap.mmap(-1, segment.size_bytes)
        self._view = memoryview(self._memory)

    @property
    def position(self) -> Lsn:
        """The position just after the last byte that has come in."""
        return self.segment.start + self.received

    @property
    def is_full(self) -> bool:
        """Whether the segment is whole."""
        return self.received == self.segment.size_bytes

    def append(self, position: Lsn, data: memoryview) -> memoryview:
        """Take the bytes that belong into this segment, return the rest; VerificationError where they do not follow."""
        if position != self.position:
            raise VerificationError(
                f"the server sent WAL from {position}, and {self.position} was to come",
                hint="this is a fault of the server or of holdfast: please report it",
            )
        count = min(len(data), self.segment.size_bytes - self.received)
        self._view[self.received : self.received + count] = data[:count]
        if self.received // _LET_GO_EVERY_BYTES != (self.received + count) // _LET_GO_EVERY_BYTES:
            self.let_go()
        self.received += count
        return data[count:]

    def part(self, begin: int, end: int) -> BufferPart:
        """Return bytes that have come in."""
        return BufferPart(self, self._view[begin:end])

    def let_go(self) -> None:
        """Let the kernel take back the memory of what lies in a file; its content stays."""
        if self._is_on_disk:
            self._memory.madvise(mmap.MADV_DONTNEED)


class BufferPart(InMemory):
    """A part of a segment as ``Content``; what was gone through of a large one does not stay in memory."""

    def __init__(self, buffer: SegmentBuffer, view: memoryview) -> None:
        super().__init__(view)
        self._buffer = buffer

    def frames(self) -> Iterator[memoryview]:
        """Yield the frames, as views."""
        read_bytes = 0
        for frame in super().frames():
            yield frame
            read_bytes += len(frame)
            if read_bytes >= _LET_GO_EVERY_BYTES:
                self._buffer.let_go()
                read_bytes = 0
        self._buffer.let_go()
