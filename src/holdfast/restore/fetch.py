"""Fetching content: spans of packs in the order in which they lie, opened by several threads and written in place.

Where a file is in many pieces, these are put together first (``assembly.py``).
"""

from __future__ import annotations

import mmap
import threading
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.repository.crew import Crew
from holdfast.repository.frames import CHUNK_LIMIT_BYTES
from holdfast.restore.assembly import APART, Assembly, plan_assembly
from holdfast.restore.windows import Windows
from holdfast.restore.writing import ALIGNMENT, OpenFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.progress import Reporter
    from holdfast.repository.reader import ChunkReader, Span
    from holdfast.restore.plan import PlannedFile, RestorePlan
    from holdfast.restore.windows import Fetch


class Destination(Protocol):
    """The files that content goes to, by their number in the plan; used by many threads."""

    def write(self, number: int, offset: int, data: memoryview, *, is_aligned: bool) -> None:
        """Write ``data`` at a file's offset, whole. ``is_aligned``: the buffer starts at a multiple of ALIGNMENT."""
        ...

    def close(self, number: int) -> None:
        """Close a file that is written whole."""
        ...

    def close_all(self) -> None:
        """Close everything."""
        ...


class ContentFetcher:
    """Writes the content of a plan's files; every chunk is authenticated before a byte of it is written."""

    def __init__(
        self,
        plan: RestorePlan,
        reader: ChunkReader,
        reporter: Reporter,
        threads: int,
        files: Destination | None = None,
    ) -> None:
        self._plan, self._reader, self._reporter, self._threads = plan, reader, reporter, threads
        self._files = files or OpenFiles(plan.files)

    def fetch(self, wants: np.ndarray, on_file_done: Callable[[PlannedFile], None]) -> None:
        """Write all ``wants`` (WANT_DTYPE, by row); ``on_file_done`` is called once for each file when it is whole."""
        left = np.bincount(wants["file"], weights=wants["length"], minlength=len(self._plan.files)).astype(np.int64)
        plan = plan_assembly(wants, [file.entry.size for file in self._plan.files])
        work = _Work(left, Assembly(plan), on_file_done)
        try:
            Crew("fetch", self._threads, partial(self._worker, work)).work_off(self._fetches(work))
        finally:
            self._files.close_all()

    def _fetches(self, work: _Work) -> Iterator[Fetch]:
        windows = Windows(self._reader, work.rows, work.assembly.plan.group)
        for group, rows in work.assembly.plan.groups():
            work.assembly.admit(group)
            yield from windows.fetches(rows)

    @contextmanager
    def _worker(self, work: _Work) -> Iterator[Callable[[Fetch], None]]:
        with mmap.mmap(-1, CHUNK_LIMIT_BYTES) as area, memoryview(area) as buffer, closing(work.assembly):

            def write(fetch: Fetch) -> None:
                with fetch.content(self._reader) as content:
                    self._write_span(work, fetch.span, content, buffer)
                crashpoint.reach(CrashPoint.RESTORE_SPAN_WRITTEN)

            yield write

    def _write_span(self, work: _Work, span: Span, fetched: memoryview, buffer: memoryview) -> None:
        cipher = self._reader.cipher(span.pack)
        first = np.searchsorted(work.rows, span.rows, side="left").tolist()
        last = np.searchsorted(work.rows, span.rows, side="right").tolist()
        for at, (_, chunk, frame, sealed) in enumerate(self._reader.frames(span, fetched)):
            with buffer[: frame.plain] as plain:
                self._reader.opener.open_into(cipher, frame, chunk, sealed, plain)
                self._write_chunk(work, slice(first[at], last[at]), plain)

    def _write_chunk(self, work: _Work, which: slice, plain: memoryview) -> None:
        wants, places = work.wants[which], work.assembly.plan.place[which]
        is_apart = places == APART
        if is_apart.any():
            self._write_apart(work, wants[is_apart], plain)
            wants, places = wants[~is_apart], places[~is_apart]
        if len(wants):
            group = int(work.assembly.plan.group[which.start])
            memory = work.assembly.put(group, places, wants, plain)
            if memory is not None:
                self._write_group(work, group, memory)

    def _write_apart(self, work: _Work, wants: np.ndarray, plain: memoryview) -> None:
        for _, number, offset, length, start in wants.tolist():
            with plain[start : start + length] as piece:
                self._files.write(number, offset, piece, is_aligned=start % ALIGNMENT == 0)
            self._written(work, number, length)

    def _write_group(self, work: _Work, group: int, memory: mmap.mmap) -> None:
        """Write the regions of a group that is put together."""
        with memoryview(memory) as view:
            for place, number, offset, length in work.assembly.plan.regions(group):
                self._files.write(number, offset, view[place : place + length], is_aligned=True)
                self._written(work, number, length)
        work.assembly.release(group)

    def _written(self, work: _Work, number: int, length: int) -> None:
        self._reporter.advance(length)
        if work.take(number, length):
            self._files.close(number)
            work.on_file_done(self._plan.files[number])
            crashpoint.reach(CrashPoint.RESTORE_FILE_DONE)


class _Work:
    """What is left to do; shared by the threads."""

    def __init__(
        self,
        left: np.ndarray,
        assembly: Assembly,
        on_file_done: Callable[[PlannedFile], None],
    ) -> None:
        self.wants, self.assembly, self.on_file_done = assembly.plan.wants, assembly, on_file_done
        # Searched for every span: as a field of the wants it would be copied whole each time
        self.rows = np.ascontiguousarray(self.wants["row"])
        self._left = left.tolist()
        self._lock = threading.Lock()

    def take(self, number: int, length: int) -> bool:
        """Count bytes of a file as written; return whether the file is whole now."""
        with self._lock:
            self._left[number] -= length
            return bool(self._left[number] == 0)
