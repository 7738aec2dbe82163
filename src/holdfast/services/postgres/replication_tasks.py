"""Tasks of the pipeline whose content is in memory already: spans of large files, and small ones that share a chunk.

Few are made ahead (``replication_ahead.py``): memory is a buffer for each thread, and for each task that waits.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from crc32c import crc32c

from holdfast.postgres.crc32c import crc32c_joined
from holdfast.repository.buffers import large_buffer
from holdfast.repository.chunker import CHUNK_BYTES
from holdfast.repository.extents import NO_EXTENTS, join_extents, one_extent
from holdfast.repository.file_extents import NOTHING_STORED
from holdfast.repository.manifest import EXTENT_DTYPE
from holdfast.repository.page_gather import PageGatherer
from holdfast.repository.sources import FileSource, Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.file_pages import FilePages
    from holdfast.repository.intake import Intake

Cuts = list[tuple[int, int]]

SPAN_BYTES = 8 << 20
"""What is read at once. Half of what a file is read by: each thread's buffer is one of several that go round, and more
gained nothing. Cuts by content are the same whatever the buffer, as long as it holds two of the largest chunks."""


class SpanBuffers:
    """Buffers of SPAN_BYTES that go round; as many are made as are in use at once."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Return a buffer that nobody uses; what is in it is left from before."""
        try:
            return self._free.pop()
        except IndexError:
            return memoryview(large_buffer(SPAN_BYTES))

    def give_back(self, buffer: memoryview) -> None:
        """Let others use a buffer."""
        self._free.append(buffer)


class Recipient(Protocol):
    """Hears what was received of a file, for the comparison with the server's list."""

    def received(self, path: bytes, size: int, crc32c: int) -> None:
        """Note a file that is stored; called by many threads."""
        ...


@dataclass
class ArrivingFile:
    """A large file that comes in spans: whichever is done last adds its entry."""

    source: FileSource
    recipient: Recipient
    buffers: SpanBuffers
    _spans: dict[int, _StoredSpan] = field(default_factory=dict)
    _made: int = 0
    _expected: int | None = None
    _pages: FilePages | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def span(self, offset: int, cuts: Cuts, buffer: memoryview, *, is_last: bool) -> SpanTask:
        """Return the task of what lies in ``buffer``, ``offset`` bytes into the file. Spans are made in order."""
        return SpanTask(self, self._next(is_last=is_last), offset, cuts, buffer)

    def pages_span(self, offset: int, length: int, buffer: memoryview) -> PagesTask:
        """Return the same for a file of pages, of which only those are stored that changed."""
        is_last = offset + length == self.source.entry.size
        return PagesTask(self, self._next(is_last=is_last), offset, length, buffer)

    def _next(self, *, is_last: bool) -> int:
        self._made += 1
        if is_last:
            self._expected = self._made
        return self._made

    def pages(self, intake: Intake) -> FilePages:
        """Return what is known of the file's pages."""
        with self._lock:
            if self._pages is None:
                self._pages = intake.memory.begin(self.source.entry)
            return self._pages

    def stored(self, intake: Intake, number: int, span: _StoredSpan) -> None:
        """Note that a span is stored."""
        with self._lock:
            self._spans[number] = span
            if len(self._spans) != self._expected:
                return
        spans = [self._spans[each] for each in sorted(self._spans)]
        checksum = 0
        for each in spans:
            checksum = crc32c_joined(checksum, each.crc32c, each.length)
        self.recipient.received(self.source.entry.path, self.source.entry.size, checksum)
        before = self._pages.stored if self._pages is not None else NOTHING_STORED
        intake.finish_file(self.source.entry, join_extents([each.extents for each in spans]), before)
        if self._pages is not None:
            intake.memory.finish(self.source.entry, self._pages)


@dataclass(frozen=True, slots=True)
class _StoredSpan:
    extents: np.ndarray
    crc32c: int
    length: int


@dataclass(frozen=True, slots=True)
class SpanTask:
    """One span of a large file; ``cuts`` say its chunks and cover it."""

    file: ArrivingFile
    number: int
    offset: int
    cuts: Cuts
    content: memoryview

    def run(self, intake: Intake, buffer: memoryview) -> None:  # noqa: ARG002 - the content has its own
        """Store it; the buffer is free afterwards."""
        try:
            length = self.cuts[-1][0] + self.cuts[-1][1]
            ids = intake.store(self.content, [Piece(self.file.source, self.offset, 0, length)], self.cuts)
            extents = np.zeros(len(ids), dtype=EXTENT_DTYPE)
            extents["file_offset"] = [self.offset + at for at, _ in self.cuts]
            extents["length"] = [size for _, size in self.cuts]
            extents["chunk"] = [np.void(chunk) for chunk in ids]
            stored = _StoredSpan(extents, crc32c(self.content[:length]), length)
        finally:
            self.file.buffers.give_back(self.content)
        self.file.stored(intake, self.number, stored)


@dataclass(frozen=True, slots=True)
class PagesTask:
    """One span of a large file of pages, ``length`` bytes long."""

    file: ArrivingFile
    number: int
    offset: int
    length: int
    content: memoryview

    def run(self, intake: Intake, buffer: memoryview) -> None:
        """Store the pages that changed; the span's own buffer is free afterwards."""
        content, pages = self.content[: self.length], self.file.pages(intake)
        try:
            # Of a file that nothing is known of no page is moved: its blocks may stay where they are
            gatherer = PageGatherer(intake, self.file.source, pages, self.content if pages.is_unknown else buffer)
            for at in range(0, self.length, CHUNK_BYTES):
                block = content[at : at + CHUNK_BYTES]
                room = gatherer.room()[: len(block)]
                if _address(room) != _address(block):
                    room[:] = block
                gatherer.take(self.offset + at, len(block))
            stored = _StoredSpan(gatherer.finish(), crc32c(content), self.length)
        finally:
            self.file.buffers.give_back(self.content)
        self.file.stored(intake, self.number, stored)


def _address(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).ctypes.data


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A small file with its content."""

    source: FileSource
    content: bytearray


@dataclass(frozen=True, slots=True)
class BundleTask:
    """Small files of one class, in the order of their paths, that share a chunk."""

    files: Sequence[SmallFile]
    recipient: Recipient

    def run(self, intake: Intake, buffer: memoryview) -> None:  # noqa: ARG002 - the content has its own
        """Store them."""
        joined = bytearray().join(file.content for file in self.files)
        pieces, at = [], 0
        for file in self.files:
            pieces.append(Piece(file.source, 0, at, len(file.content)))
            at += len(file.content)
        ids = intake.store(memoryview(joined), [piece for piece in pieces if piece.length], [(0, at)]) if at else []
        for piece, file in zip(pieces, self.files, strict=True):
            extents = one_extent(piece.length, ids[0], piece.buffer_offset) if piece.length else NO_EXTENTS
            self.recipient.received(piece.source.entry.path, piece.length, crc32c(file.content))
            intake.finish_file(piece.source.entry, extents)
