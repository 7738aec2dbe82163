"""The pipeline: many threads read, inspect, hash, compress and seal; Python only hands out spans of several MiB.

Tasks (``tasks.py``) are handed out under a lock by one generator, so there is no queue to bound: memory is one buffer
a thread. A file's extents become metadata as soon as its last span is done, so memory does not grow with the source.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.repository.buffers import large_buffer
from holdfast.repository.crew import Crew, no_pulse
from holdfast.repository.file_extents import NOTHING_STORED, store_extents
from holdfast.repository.intake import SPAN_BYTES, Task
from holdfast.repository.page_memory import NoMemory, PageMemory
from holdfast.repository.sources import Capture, FileSource, Inspector, Piece, Unreadable
from holdfast.repository.tasks import plan_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

    from holdfast.model import ChunkId
    from holdfast.progress import Reporter
    from holdfast.repository.compression import ContentClass
    from holdfast.repository.file_extents import StoredExtents
    from holdfast.repository.manifest import Entry
    from holdfast.repository.writer import Writer

_MEASURED_APART_BYTES = 64 << 20
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
_UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.EUCLEAN, errno.EBADMSG}
"""The last two are what file systems say of their own damage: ext4 and XFS, where structures or their checksums are
wrong."""


class Pipeline:
    """Reads files into a writer. One run: ``capture`` is called once or more, then the result is in ``result``.

    ``memory`` knows pages of an earlier run, which are not stored again.
    """

    def __init__(
        self, writer: Writer, inspector: Inspector, reporter: Reporter, memory: PageMemory | None = None
    ) -> None:
        self.writer, self.inspector, self.reporter = writer, inspector, reporter
        self.memory = memory or NoMemory()
        self.result = Capture()
        self._lock = threading.Lock()

    def capture(self, sources: Iterable[FileSource], pulse: Callable[[], None] = no_pulse) -> Capture:
        """Read all sources, larger ones first; return the result so far. Raises the first failure of any thread.

        ``pulse`` is called every few seconds meanwhile; what it raises ends the capture.
        """
        return self.work_off(plan_tasks(sources), pulse)

    def work_off(
        self, tasks: Iterator[Task], pulse: Callable[[], None] = no_pulse, give_up: Callable[[], None] = no_pulse
    ) -> Capture:
        """Do tasks that were planned elsewhere, in their order; otherwise as ``capture``.

        ``tasks`` is asked for the next one by one thread at a time, and is made to end by ``give_up``.
        """
        Crew("capture", self.writer.options.threads, self._worker).work_off(tasks, pulse, give_up)
        return self.result

    @contextmanager
    def _worker(self) -> Iterator[Callable[[Task], None]]:
        buffer = memoryview(large_buffer(SPAN_BYTES))

        def run(task: Task) -> None:
            task.run(self, buffer)
            crashpoint.reach(CrashPoint.SPAN_READ)

        yield run

    # -- called by tasks

    def store(self, buffer: memoryview, pieces: list[Piece], cuts: Sequence[tuple[int, int]]) -> list[ChunkId]:
        """Inspect what lies back to back in ``buffer``; store it as the chunks that ``cuts`` (offset, length) say."""
        filled = sum(piece.length for piece in pieces)
        self.inspector.inspect(buffer[:filled], pieces)
        chunks = [buffer[offset : offset + length] for offset, length in cuts]
        source = pieces[0].source
        ids = self.writer.put(source.content_class, chunks, _measured_apart(source))
        self.count_read(filled)
        return ids

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
        unsound = self.inspector.inspect_pages(buffer, source, offsets)
        chunks = [buffer[offset : offset + length] for offset, length in cuts]
        return self.writer.put(content_class, chunks, _measured_apart(source)), offsets[unsound]

    def count_read(self, length: int) -> None:
        """Count bytes as read, be they stored or known."""
        self.reporter.advance(length)
        with self._lock:
            self.result.bytes_read += length

    def count_unread(self, length: int) -> None:
        """Count bytes that need not be read."""
        self.reporter.advance(length)

    def finish_file(self, entry: Entry, extents: np.ndarray, before: StoredExtents = NOTHING_STORED) -> None:
        """Add a file whose content is stored; ``before``: how the parent has it, whose lists may serve again."""
        inline, chunks = store_extents(extents, self.writer.put_metadata, before)
        done = msgspec.structs.replace(entry, extents=inline, extent_chunks=chunks)
        with self._lock:
            self.result.entries.append(done)

    def open(self, source: FileSource) -> int | None:
        """Return a descriptor, or None (and note it) when the file is gone or may not be read."""
        try:
            return os.open(source.path, _OPEN_FLAGS)
        except OSError as error:
            self.lost(source, error)
            return None

    def lost(self, source: FileSource, error: OSError) -> None:
        """Note a file that is gone or cannot be read; raise anything else."""
        with self._lock:
            if error.errno in _GONE:
                self.result.vanished.append(source.entry.path)
            elif error.errno in _UNREADABLE:
                self.result.unreadable.append(Unreadable(source.entry.path, os.strerror(error.errno or 0)))
            else:
                raise error


def _measured_apart(source: FileSource) -> bytes:
    """Return the name under which a file's compression is measured: its own where samples are few among its chunks."""
    return source.entry.path if source.entry.size >= _MEASURED_APART_BYTES else b""
