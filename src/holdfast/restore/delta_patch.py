"""Writing into the files of a copy: of a chunk that differs, only the blocks that really do.

Also what no chunk says: the length of every file, and zeros where the snapshot has a hole and the copy has not.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.errors import StorageError
from holdfast.repository.frames import CHUNK_LIMIT_BYTES
from holdfast.restore.on_disk import open_copy, reads_as_zeros
from holdfast.restore.tree import finish_path, is_finished, open_to_write
from holdfast.restore.writing import OpenFiles, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.restore.plan import PlannedFile, RestorePlan

BLOCK_BYTES = 4096
_WHOLE_FROM = 0.5
"""From this part of differing blocks on a piece is written in one go: long writes bypass the page cache."""
_ZEROS_BYTES = 1 << 20


class Patches:
    """A Destination that compares before it writes."""

    def __init__(self, plan: RestorePlan) -> None:
        self._plan = plan
        self._files = OpenFiles(plan.files)
        self._lock = threading.Lock()
        self._local = threading.local()
        self.written_bytes = 0

    def write(self, number: int, offset: int, pieces: Sequence[memoryview], *, is_aligned: bool) -> None:
        """Write those blocks of the pieces, back to back, that the file does not hold yet."""
        buffers = self._buffers()
        data = pieces[0] if len(pieces) == 1 else joined(pieces, buffers.pieces)
        for start, end in _differing_runs(data, self._present(number, offset, buffers.present[: len(data)])):
            with data[start:end] as part:
                self._files.write(number, offset + start, [part], is_aligned=is_aligned and len(part) == len(data))
            with self._lock:
                self.written_bytes += end - start

    def close(self, number: int) -> None:
        """Close a file that is written whole."""
        self._files.close(number)

    def close_all(self) -> None:
        """Close everything."""
        self._files.close_all()

    def settle(self, number: int, gaps: list[tuple[int, int]]) -> None:
        """Give a file its length, zeros in its ``gaps`` (start, end), and its owner, mode and time."""
        file = self._plan.files[number]
        if not gaps and is_finished(file):  # most are: a new time for each would be so many inodes to make durable
            return
        _require_there(file)
        descriptor = open_to_write(file)
        try:
            for start, end in gaps:
                self.written_bytes += _clear(descriptor, file, start, end)
        finally:
            os.close(descriptor)
        finish_path(file.path, file.entry)

    def _present(self, number: int, offset: int, buffer: memoryview) -> memoryview:
        """Return what the file holds there, as far as it goes, in a buffer that it is to fill."""
        descriptor = open_copy(self._plan.files[number].path)
        if descriptor is None:
            return buffer[:0]
        try:
            return buffer[: os.preadv(descriptor, [buffer], offset)]
        except OSError:  # it cannot be read any more; whether it can be written will be seen
            return buffer[:0]
        finally:
            os.close(descriptor)

    def _buffers(self) -> _Buffers:
        if not hasattr(self._local, "buffers"):
            self._local.buffers = _Buffers(*(memoryview(mmap.mmap(-1, CHUNK_LIMIT_BYTES)) for _ in range(2)))
        buffers: _Buffers = self._local.buffers
        return buffers


def _require_there(file: PlannedFile) -> None:
    """Raise StorageError where a file that was compared is gone, or shorter than its content: it would be zeros."""
    try:
        size = os.lstat(file.path).st_size
    except FileNotFoundError:
        size = 0
    if size < file.content_bytes:
        raise StorageError(
            f"{file.path} was taken away or cut off by somebody else while it was restored",
            hint="see that nothing else is at work there, then run the same command again",
        )


class _Buffers(NamedTuple):
    """A thread's own memory: for several pieces as one, and for what a file holds."""

    pieces: memoryview
    present: memoryview


def gaps_of(plan: RestorePlan) -> dict[int, list[tuple[int, int]]]:
    """Return the holes of files, by number: runs (start, end) that no want covers, and that read as zeros."""
    order = np.lexsort((plan.wants["file_offset"], plan.wants["file"]))
    covered = np.bincount(plan.wants["file"], weights=plan.wants["length"], minlength=len(plan.files))
    sizes = np.array([file.entry.size for file in plan.files], dtype=np.int64)
    with_gaps = np.flatnonzero(covered.astype(np.int64) < sizes)
    in_order = plan.wants[order]
    found = {}
    for number in with_gaps.tolist():
        first, after = np.searchsorted(in_order["file"], [number, number + 1])
        found[number] = list(_between(in_order[first:after], int(sizes[number])))
    return found


def _between(extents: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for offset, length in extents[["file_offset", "length"]].tolist():
        if offset > at:
            yield at, offset
        at = offset + length
    if at < size:
        yield at, size


def _differing_runs(data: memoryview, present: memoryview) -> list[tuple[int, int]]:
    """Return where ``data`` differs from what is there, in runs of blocks; all of it when most differs."""
    if len(present) < len(data) or len(data) % BLOCK_BYTES:
        return [] if bytes(data) == bytes(present) else [(0, len(data))]
    wanted, found = (np.frombuffer(each, dtype=np.uint64).reshape(-1, BLOCK_BYTES // 8) for each in (data, present))
    differs = (wanted != found).any(axis=1)
    if differs.mean() >= _WHOLE_FROM:
        return [(0, len(data))]
    edges = np.flatnonzero(np.diff(differs, prepend=False, append=False)) * BLOCK_BYTES
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _clear(descriptor: int, file: PlannedFile, start: int, end: int) -> int:
    """Make a run of a file read as zeros; return how many bytes were not. What is a hole already stays one."""
    written = 0
    with open(file.path, "rb", buffering=0) as readable:
        for first, last in _data(readable.fileno(), start, end):
            for at in range(first, last, _ZEROS_BYTES):
                length = min(_ZEROS_BYTES, last - at)
                if not reads_as_zeros(readable.fileno(), at, length):
                    written += os.pwrite(descriptor, bytes(length), at)
    return written


def _data(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs between start and end that are no holes (lseek(2), SEEK_DATA)."""
    while start < end:
        try:
            first = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            return
        last = min(os.lseek(descriptor, first, os.SEEK_HOLE), end)
        if first < last:
            yield first, last
        start = last if last > start else end
