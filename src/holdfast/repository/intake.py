"""What tasks and the pipeline agree on, and how a task reads a file: fully, and around its holes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from holdfast.repository.chunker import CHUNK_BYTES
from holdfast.repository.file_extents import NOTHING_STORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.model import ChunkId
    from holdfast.repository.compression import ContentClass
    from holdfast.repository.file_extents import StoredExtents
    from holdfast.repository.manifest import Entry
    from holdfast.repository.page_memory import PageMemory
    from holdfast.repository.sources import FileSource, Piece

SPAN_BYTES = 16 << 20
"""What is stored at once: sixteen fixed chunks. Longer spans cost page checksums fewer calls, but more memory."""


class Intake(Protocol):
    """What tasks feed: the pipeline, as they see it."""

    @property
    def memory(self) -> PageMemory:
        """What is known of the pages of large files."""
        ...

    def open(self, source: FileSource) -> int | None:
        """Return a descriptor, or None (and note it) when the file is gone or may not be read."""
        ...

    def lost(self, source: FileSource, error: OSError) -> None:
        """Note a file that is gone or cannot be read; raise anything else."""
        ...

    def store(self, buffer: memoryview, pieces: list[Piece], cuts: Sequence[tuple[int, int]]) -> list[ChunkId]:
        """Inspect what lies back to back in ``buffer``; store it as the chunks that ``cuts`` (offset, length) say."""
        ...

    def store_pages(
        self,
        content_class: ContentClass,
        buffer: memoryview,
        source: FileSource,
        offsets: np.ndarray,
        cuts: Sequence[tuple[int, int]],
    ) -> tuple[list[ChunkId], np.ndarray]:
        """Inspect and store all of ``buffer``: the pages of one file that lie there at ``offsets``.

        Returns the ids of the chunks that ``cuts`` say, and the offsets of the pages that are not sound.
        """
        ...

    def count_read(self, length: int) -> None:
        """Count bytes of large files as read, be they stored or known."""
        ...

    def count_unread(self, length: int) -> None:
        """Count bytes of large files that need not be read."""
        ...

    def finish_file(self, entry: Entry, extents: np.ndarray, before: StoredExtents = NOTHING_STORED) -> None:
        """Add a file whose content is stored; ``before``: how the parent has it, whose lists may serve again."""
        ...


class Task(Protocol):
    """One piece of work for one thread."""

    def run(self, intake: Intake, buffer: memoryview) -> None:
        """Do it, with a buffer of SPAN_BYTES that is this thread's own."""
        ...


def restat(entry: Entry, status: os.stat_result) -> Entry:
    """Return an entry with what may have changed between the scan and the opening."""
    return msgspec.structs.replace(
        entry, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns, inode=status.st_ino, size=status.st_size
    )


def read_full(descriptor: int, offset: int, buffer: memoryview) -> int:
    """Fill ``buffer`` from a file; return how many bytes there were."""
    filled = 0
    while filled < len(buffer):
        count = os.preadv(descriptor, [buffer[filled:]], offset + filled)
        if not count:
            break
        filled += count
    return filled


def read_pages(descriptor: int, offsets: np.ndarray, page_bytes: int, buffer: memoryview) -> int:
    """Read the pages at ``offsets`` of a file, ascending, back to back into ``buffer``; return how many bytes came.

    Fewer than asked for: the file ends before.
    """
    goes_on = offsets[1:] == offsets[:-1] + page_bytes
    firsts = [0, *(np.flatnonzero(~goes_on) + 1).tolist()]
    at = 0
    for first, end in zip(firsts, [*firsts[1:], len(offsets)], strict=True):
        length = (end - first) * page_bytes
        filled = read_full(descriptor, int(offsets[first]), buffer[at : at + length])
        at += filled
        if filled < length:
            break
    return at


def data_ranges(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of start..end that hold data, widened to whole chunks (lseek(2), SEEK_DATA)."""
    at = start
    while at < end:
        try:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
            hole = os.lseek(descriptor, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file, which may move meanwhile
                return
            raise
        if data >= end:
            return
        first = max(at, data // CHUNK_BYTES * CHUNK_BYTES)
        last = min(end, -(-hole // CHUNK_BYTES) * CHUNK_BYTES)
        yield first, last
        at = last
