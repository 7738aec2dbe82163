"""The tasks of the pipeline: stretches of large paged files, whole streamed files, and bundles of small ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast.repository.chunker import BUNDLE_FILE_BYTES, bundle_cuts, content_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import NO_EXTENTS, one_extent
from holdfast.repository.intake import data_ranges, read_full, restat
from holdfast.repository.manifest import EXTENT_DTYPE, Entry
from holdfast.repository.paged_file import PagedFile
from holdfast.repository.sources import FileSource, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.repository.intake import Intake, Task


def plan_tasks(sources: Iterable[FileSource]) -> Iterator[Task]:
    """Yield tasks: large files first (the largest first), then bundles of the small ones of each directory."""
    small: dict[tuple[bytes, str], list[FileSource]] = {}
    large: list[FileSource] = []
    for source in sources:
        if source.entry.size > BUNDLE_FILE_BYTES:
            large.append(source)
        else:
            small.setdefault((os.path.dirname(source.entry.path), source.content_class), []).append(source)
    for source in sorted(large, key=lambda source: -source.entry.size):
        if source.content_class is ContentClass.FILE:
            yield _StreamedFile(source)
        else:
            yield from PagedFile(source).tasks()
    for _, group in sorted(small.items()):
        yield from _bundles(sorted(group, key=lambda source: source.entry.path))


def _bundles(sources: list[FileSource]) -> Iterator[Task]:
    for first, end in bundle_cuts([source.entry.size for source in sources]):
        yield _Bundle(sources[first:end])


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
                for start, end in data_ranges(descriptor, 0, self.source.entry.size)
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
            filled = read_full(descriptor, at, buffer[: end - at])
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
            length = read_full(descriptor, 0, room[: source.entry.size])
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
            extents = one_extent(piece.length, ids[0], piece.buffer_offset) if piece.length else NO_EXTENTS
            intake.finish_file(entry, extents)
