"""The tasks of the pipeline: spans of large paged files, whole streamed files, and bundles of small ones."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from holdfast.repository.chunker import BUNDLE_FILE_BYTES, CHUNK_BYTES, content_cuts, fixed_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.manifest import EXTENT_DTYPE, Entry
from holdfast.repository.sources import FileSource, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.model import ChunkId

SPAN_BYTES = 16 << 20
"""What a task reads at once: sixteen fixed chunks. Longer spans cost page checksums fewer calls, but more memory."""


class Intake(Protocol):
    """What tasks feed: the pipeline, as they see it."""

    def open(self, source: FileSource) -> int | None:
        """Return a descriptor, or None (and note it) when the file is gone or may not be read."""
        ...

    def lost(self, source: FileSource, error: OSError) -> None:
        """Note a file that is gone or cannot be read; raise anything else."""
        ...

    def store(self, buffer: memoryview, pieces: list[Piece], cuts: Sequence[tuple[int, int]]) -> list[ChunkId]:
        """Inspect what lies back to back in ``buffer``; store it as the chunks that ``cuts`` (offset, length) say."""
        ...

    def finish_file(self, entry: Entry, extents: np.ndarray) -> None:
        """Add a file whose content is stored."""
        ...


class Task(Protocol):
    """One piece of work for one thread."""

    def run(self, intake: Intake, buffer: memoryview) -> None:
        """Do it, with a buffer of SPAN_BYTES that is this thread's own."""
        ...


def plan_tasks(sources: Iterable[FileSource]) -> Iterator[Task]:
    """Yield tasks: large files first (the largest first), then bundles of small ones in the order of their paths."""
    small: dict[str, list[FileSource]] = {}
    large: list[FileSource] = []
    for source in sources:
        if source.entry.size > BUNDLE_FILE_BYTES:
            large.append(source)
        else:
            small.setdefault(source.content_class, []).append(source)
    for source in sorted(large, key=lambda source: -source.entry.size):
        if source.content_class is ContentClass.FILE:
            yield _StreamedFile(source)
        else:
            yield from _PagedFile(source).tasks()
    for _, group in sorted(small.items()):
        yield from _bundles(sorted(group, key=lambda source: source.entry.path))


def _bundles(sources: list[FileSource]) -> Iterator[Task]:
    bundle: list[FileSource] = []
    filled = 0
    for source in sources:
        if bundle and filled + source.entry.size > CHUNK_BYTES:
            yield _Bundle(bundle)
            bundle, filled = [], 0
        bundle.append(source)
        filled += source.entry.size
    if bundle:
        yield _Bundle(bundle)


class _PagedFile:
    """A large file cut at fixed boundaries, read by several tasks: the first opens it, the last adds its entry."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._entry = source.entry
        self._is_lost = False
        self._end = 0
        self._extents = np.zeros(-(-source.entry.size // CHUNK_BYTES), dtype=EXTENT_DTYPE)
        self._left = -(-source.entry.size // SPAN_BYTES)

    def tasks(self) -> Iterator[Task]:
        for offset in range(0, self.source.entry.size, SPAN_BYTES):
            yield _SpanTask(self, offset, min(SPAN_BYTES, self.source.entry.size - offset))

    def read(self, intake: Intake, offset: int, length: int, buffer: memoryview) -> None:
        descriptor = self._open(intake)
        if descriptor is not None:
            try:
                for start, end in _data_ranges(descriptor, offset, offset + length):
                    self._store(intake, start, _read_full(descriptor, start, buffer[: end - start]), buffer)
            except OSError as error:
                self._lose(intake, error)
        self._done(intake)

    def _lose(self, intake: Intake, error: OSError) -> None:
        with self._lock:
            is_known, self._is_lost = self._is_lost, True
        if not is_known:
            intake.lost(self.source, error)

    def _store(self, intake: Intake, start: int, filled: int, buffer: memoryview) -> None:
        if not filled:
            return
        cuts = list(fixed_cuts(filled))
        ids = intake.store(buffer, [Piece(self.source, start, 0, filled)], cuts)
        for (at, length), chunk in zip(cuts, ids, strict=True):
            self._extents[(start + at) // CHUNK_BYTES] = (start + at, length, 0, np.void(chunk))
        with self._lock:
            self._end = max(self._end, start + filled)

    def _open(self, intake: Intake) -> int | None:
        with self._lock:
            if self._descriptor is None and not self._is_lost:
                self._descriptor = intake.open(self.source)
                self._is_lost = self._descriptor is None
                if self._descriptor is not None:
                    self._entry = restat(self.source.entry, os.fstat(self._descriptor))
            return self._descriptor

    def _done(self, intake: Intake) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._descriptor is not None:
            size = min(os.fstat(self._descriptor).st_size, self.source.entry.size)
            os.close(self._descriptor)
            if not self._is_lost:
                extents = self._extents[self._extents["length"] > 0]
                intake.finish_file(msgspec.structs.replace(self._entry, size=max(size, self._end)), extents)


@dataclass(frozen=True, slots=True)
class _SpanTask:
    """One span of a large file."""

    file: _PagedFile
    offset: int
    length: int

    def run(self, intake: Intake, buffer: memoryview) -> None:
        self.file.read(intake, self.offset, self.length, buffer)


@dataclass(frozen=True, slots=True)
class _StreamedFile:
    """A large file cut where its content says so, read by one task from start to end."""

    source: FileSource

    def run(self, intake: Intake, buffer: memoryview) -> None:
        descriptor = intake.open(self.source)
        if descriptor is None:
            return
        try:
            entry = restat(self.source.entry, os.fstat(descriptor))
            extents = [
                extent
                for start, end in _data_ranges(descriptor, 0, self.source.entry.size)
                for extent in self._store_range(intake, descriptor, (start, end), buffer)
            ]
            size = min(os.fstat(descriptor).st_size, self.source.entry.size)
        except OSError as error:
            intake.lost(self.source, error)
        else:
            table = np.array(extents, dtype=EXTENT_DTYPE)
            end = int(table["file_offset"][-1] + table["length"][-1]) if extents else 0
            intake.finish_file(msgspec.structs.replace(entry, size=max(size, end)), table)
        finally:
            os.close(descriptor)

    def _store_range(
        self, intake: Intake, descriptor: int, span: tuple[int, int], buffer: memoryview
    ) -> Iterator[tuple[int, int, int, np.void]]:
        """Store one run of data; what follows the last sure cut of a buffer is cut again with what comes after it."""
        at, end = span
        while at < end:
            filled = _read_full(descriptor, at, buffer[: end - at])
            if not filled:
                return
            cuts = list(content_cuts(buffer[:filled]))
            if len(cuts) > 1 and at + filled < end:
                cuts.pop()
            kept = sum(length for _, length in cuts)
            ids = intake.store(buffer, [Piece(self.source, at, 0, kept)], cuts)
            for (offset, length), chunk in zip(cuts, ids, strict=True):
                yield at + offset, length, 0, np.void(chunk)
            at += kept


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Small files that share a chunk."""

    sources: list[FileSource]

    def run(self, intake: Intake, buffer: memoryview) -> None:
        read: list[tuple[Entry, Piece]] = []
        filled = 0
        for source in self.sources:
            entry, length = self._read(intake, source, buffer[filled:])
            if entry is not None:
                read.append((entry, Piece(source, 0, filled, length)))
                filled += length
        self._store(intake, buffer, read)

    @staticmethod
    def _read(intake: Intake, source: FileSource, room: memoryview) -> tuple[Entry | None, int]:
        """Return (entry, bytes read); a file that has grown since the scan is read up to the size it had."""
        descriptor = intake.open(source)
        if descriptor is None:
            return None, 0
        try:
            entry = restat(source.entry, os.fstat(descriptor))
            length = _read_full(descriptor, 0, room[: source.entry.size])
            return msgspec.structs.replace(entry, size=length), length
        except OSError as error:
            intake.lost(source, error)
            return None, 0
        finally:
            os.close(descriptor)

    @staticmethod
    def _store(intake: Intake, buffer: memoryview, read: list[tuple[Entry, Piece]]) -> None:
        pieces = [piece for _, piece in read if piece.length]
        filled = sum(piece.length for piece in pieces)
        ids = intake.store(buffer, pieces, [(0, filled)]) if pieces else []
        for entry, piece in read:
            extents = np.zeros(1 if piece.length else 0, dtype=EXTENT_DTYPE)
            if piece.length:
                extents[0] = (0, piece.length, piece.buffer_offset, np.void(ids[0]))
            intake.finish_file(entry, extents)


def restat(entry: Entry, status: os.stat_result) -> Entry:
    """Return an entry with what may have changed between the scan and the opening."""
    return msgspec.structs.replace(
        entry, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns, inode=status.st_ino, size=status.st_size
    )


def _read_full(descriptor: int, offset: int, buffer: memoryview) -> int:
    """Fill ``buffer`` from a file; return how many bytes there were."""
    filled = 0
    while filled < len(buffer):
        count = os.preadv(descriptor, [buffer[filled:]], offset + filled)
        if not count:
            break
        filled += count
    return filled


def _data_ranges(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
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
