"""A large file of pages, read by several tasks: the first opens it, the last adds its entry."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast.repository.chunker import CHUNK_BYTES, STRETCH_BYTES
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import join_extents
from holdfast.repository.intake import data_ranges, read_full, read_pages, restat
from holdfast.repository.page_gather import PageGatherer
from holdfast.repository.page_memory import NoMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.file_pages import FilePages
    from holdfast.repository.intake import Intake
    from holdfast.repository.page_memory import PageMemory
    from holdfast.repository.sources import FileSource


class PagedFile:
    """The state that the tasks of one file share."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._entry = source.entry
        self._pages: FilePages | None = None
        self._is_lost = False
        self._end = 0
        self._parts: list[np.ndarray] = []
        self._left = -(-source.entry.size // STRETCH_BYTES)

    def tasks(self) -> Iterator[StretchTask]:
        """Yield the tasks that read the file."""
        for offset in range(0, self.source.entry.size, STRETCH_BYTES):
            yield StretchTask(self, offset, min(STRETCH_BYTES, self.source.entry.size - offset))

    def read(self, intake: Intake, offset: int, length: int, buffer: memoryview) -> None:
        """Read one stretch, and store of it what is not known."""
        opened = self._open(intake)
        if opened is not None:
            descriptor, pages = opened
            gatherer = PageGatherer(intake, self.source, pages, buffer)
            try:
                for start, end in data_ranges(descriptor, offset, offset + length):
                    self._read_range(descriptor, gatherer, start, end)
                extents = gatherer.finish()
                with self._lock:
                    self._parts.append(extents)
            except OSError as error:
                self._lose(intake, error)
        self._done(intake)

    def _read_range(self, descriptor: int, gatherer: PageGatherer, start: int, end: int) -> None:
        for at in range(start, end, CHUNK_BYTES):
            if self._read_wanted(descriptor, gatherer, at, min(CHUNK_BYTES, end - at)):
                continue
            room = gatherer.room()[: end - at]
            filled = read_full(descriptor, at, room)
            if filled:
                gatherer.take(at, filled)
                with self._lock:
                    self._end = max(self._end, at + filled)
            if filled < len(room):
                return

    def _read_wanted(self, descriptor: int, gatherer: PageGatherer, at: int, length: int) -> bool:
        """Read the pages of a block that must be read; False, and nothing done, where it must be read whole."""
        is_wanted = gatherer.wanted(at, length)
        if is_wanted is None or self._pages is None:
            return False
        size = self._pages.page_bytes
        offsets = at + np.flatnonzero(is_wanted) * size
        room = gatherer.room()[: len(offsets) * size]
        if len(offsets) and read_pages(descriptor, offsets, size, room) < len(room):
            return False  # the file was cut off meanwhile
        gatherer.take_some(at, length, is_wanted)
        with self._lock:
            self._end = max(self._end, at + length)
        return True

    def _lose(self, intake: Intake, error: OSError) -> None:
        with self._lock:
            is_known, self._is_lost = self._is_lost, True
        if not is_known:
            intake.lost(self.source, error)

    def _open(self, intake: Intake) -> tuple[int, FilePages] | None:
        with self._lock:
            if self._descriptor is None and not self._is_lost:
                self._descriptor = intake.open(self.source)
                self._is_lost = self._descriptor is None
                if self._descriptor is not None:
                    self._entry = restat(self.source.entry, os.fstat(self._descriptor))
                    self._pages = self._memory(intake).begin(self.source.entry)
            if self._descriptor is None or self._pages is None:
                return None
            return self._descriptor, self._pages

    def _done(self, intake: Intake) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._descriptor is not None and self._pages is not None:
            size = min(os.fstat(self._descriptor).st_size, self.source.entry.size)
            os.close(self._descriptor)
            if not self._is_lost:
                entry = msgspec.structs.replace(self._entry, size=max(size, self._end))
                intake.finish_file(entry, join_extents(self._parts), self._pages.stored)
                self._memory(intake).finish(entry, self._pages)

    def _memory(self, intake: Intake) -> PageMemory:
        """Only relations are written over: a WAL segment that was changed is another one."""
        return intake.memory if self.source.content_class is ContentClass.RELATION else NoMemory()


@dataclass(frozen=True, slots=True)
class StretchTask:
    """One stretch of a large file."""

    file: PagedFile
    offset: int
    length: int

    def run(self, intake: Intake, buffer: memoryview) -> None:
        """Read it."""
        self.file.read(intake, self.offset, self.length, buffer)
