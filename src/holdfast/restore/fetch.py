"""Fetching content: spans of packs in the order in which they lie, opened by several threads and written in place.

Where a file is in many pieces, these are put together first (``assembly.py``).
"""

from __future__ import annotations

import mmap
import threading
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.repository.crew import Crew
from holdfast.repository.frames import CHUNK_LIMIT_BYTES
from holdfast.restore.assembly import Assembly
from holdfast.restore.assembly_plan import APART, plan_assembly
from holdfast.restore.windows import Windows
from holdfast.restore.writing import ALIGNMENT, OpenFiles, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from holdfast.progress import Reporter
    from holdfast.repository.pack import Frame
    from holdfast.repository.reader import ChunkReader
    from holdfast.restore.assembly_plan import AssemblyPlan
    from holdfast.restore.plan import PlannedFile, RestorePlan
    from holdfast.restore.windows import Fetch

_LOOKED_UP_AT_ONCE = 32
"""Spans whose chunks are looked up together; in a long chain many have only one."""


class Destination(Protocol):
    """The files that content goes to, by their number in the plan; used by many threads."""

    def write(self, number: int, offset: int, pieces: Sequence[memoryview], *, is_aligned: bool) -> None:
        """Write pieces, back to back, at a file's offset, whole.

        ``is_aligned``: each begins at a multiple of ALIGNMENT in memory, and all but the last one end at one.
        """
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
        sizes = [file.entry.size for file in self._plan.files]
        work = _Work(left, plan_assembly(wants, sizes, self._reader.index.plain), on_file_done)
        try:
            Crew("fetch", self._threads, partial(self._worker, work)).work_off(self._jobs(work))
        finally:
            self._files.close_all()

    def _jobs(self, work: _Work) -> Iterator[_Job]:
        windows = Windows(self._reader, work.plan.rows, work.plan.group)
        for group, rows in work.plan.groups():
            work.assembly.admit(group)
            fetches = windows.fetches(rows)
            while batch := list(islice(fetches, _LOOKED_UP_AT_ONCE)):
                steps = self._steps(work.plan, np.concatenate([fetch.span.rows for fetch in batch]))
                for fetch in batch:
                    yield _Job(group, fetch, list(islice(steps, len(fetch.span.rows))))

    def _steps(self, plan: AssemblyPlan, rows: np.ndarray) -> Iterator[_Step]:
        at = np.searchsorted(plan.rows, rows)
        places = (plan.place[at], plan.first_apart[at], plan.first_apart[at + 1])
        of_each = zip(*(column.tolist() for column in places), strict=True)
        for (chunk, frame), place in zip(self._reader.frames(rows), of_each, strict=True):
            yield _Step(chunk, frame, *place)

    @contextmanager
    def _worker(self, work: _Work) -> Iterator[Callable[[_Job], None]]:
        with mmap.mmap(-1, CHUNK_LIMIT_BYTES) as area, memoryview(area) as buffer, closing(work.assembly):

            def write(job: _Job) -> None:
                with job.fetch.content(self._reader) as content:
                    self._write_span(work, job, content, buffer)
                crashpoint.reach(CrashPoint.RESTORE_SPAN_WRITTEN)

            yield write

    def _write_span(self, work: _Work, job: _Job, fetched: memoryview, buffer: memoryview) -> None:
        """Open the chunks of a span, and write what can be written."""
        span, placed = job.fetch.span, 0
        cipher = self._reader.cipher(span.pack)
        for step in job.steps:
            start, length = step.frame.offset - span.offset, step.frame.plain
            if step.place == APART:
                room = buffer[:length]
            else:
                room = work.assembly.memory(job.group)[step.place : step.place + length]
                placed += 1
            with room as plain:
                sealed = fetched[start : start + step.frame.stored]
                self._reader.opener.open_into(cipher, step.frame, step.chunk, sealed, plain)
                if step.first < step.last:
                    self._write_apart(work, work.plan.apart[step.first : step.last], plain)
        if placed and work.assembly.bring(job.group, placed):
            self._write_group(work, job.group, buffer)

    def _write_apart(self, work: _Work, wants: np.ndarray, plain: memoryview) -> None:
        for _, number, offset, length, start in wants.tolist():
            with plain[start : start + length] as piece:
                self._files.write(number, offset, [piece], is_aligned=start % ALIGNMENT == 0)
            self._written(work, number, length)

    def _write_group(self, work: _Work, group: int, buffer: memoryview) -> None:
        """Write the regions of a group, all chunks of which are in its memory."""
        memory = work.assembly.memory(group)
        for region in work.plan.regions(group):
            pieces = [memory[start:end] for start, end in region.pieces]
            if not region.is_aligned:
                pieces = [joined(pieces, buffer)]
            self._files.write(region.file, region.offset, pieces, is_aligned=True)
            self._written(work, region.file, region.length)
        work.assembly.release(group)

    def _written(self, work: _Work, number: int, length: int) -> None:
        self._reporter.advance(length)
        if work.take(number, length):
            self._files.close(number)
            work.on_file_done(self._plan.files[number])
            crashpoint.reach(CrashPoint.RESTORE_FILE_DONE)


class _Step(NamedTuple):
    """A chunk to open: where it is opened (or APART), and which wants of the plan's ``apart`` are written then."""

    chunk: bytes
    frame: Frame
    place: int
    first: int
    last: int


class _Job(NamedTuple):
    """A span to fetch, of one group, with a step for each of its chunks."""

    group: int
    fetch: Fetch
    steps: list[_Step]


class _Work:
    """What is left to do; shared by the threads."""

    def __init__(self, left: np.ndarray, plan: AssemblyPlan, on_file_done: Callable[[PlannedFile], None]) -> None:
        self.plan, self.assembly, self.on_file_done = plan, Assembly(plan), on_file_done
        self._left = left.tolist()
        self._lock = threading.Lock()

    def take(self, number: int, length: int) -> bool:
        """Count bytes of a file as written; return whether the file is whole now."""
        with self._lock:
            self._left[number] -= length
            return bool(self._left[number] == 0)
