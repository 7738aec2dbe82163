"""Storing what was received, beside the receiving: one thread puts pieces and segments into the archive, in order.

The receiver must answer the server while a slow repository takes its time. Everything is durable in the order in which
it came in, so one position says what is safe. What is superseded is deleted by another thread, as nobody waits for it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import DamageError, StorageError
from holdfast.postgres.lsn import NO_LSN
from holdfast.wal.pieces import Piece, covering, next_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from concurrent.futures import Future

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.segment_buffer import SegmentBuffer

_CLOSED = -1
_ABSORB_PARTS = 16
"""A piece absorbs its predecessors up to this part of the segment: more would store the same bytes too often."""


class Storer:
    """Stores in the background. ``stored`` may be read at any time; ``fileno`` tells of news, ``hear`` of failures.

    ``known`` are the pieces of the first ``segment`` that the archive has already: they are compared, not trusted.
    """

    def __init__(self, archive: WalArchive, segment: Segment, known: Collection[Piece] = ()) -> None:
        self.stored: Lsn = NO_LSN
        self._archive = archive
        self._segment = segment
        self._unproven = deque(covering(known))
        self._leftover = set(known)
        self._pieces: list[Piece] = []
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._tasks: deque[Future[None]] = deque()
        self._waiting = self._waiting_segments = 0
        self._has_failed = False
        self._began: float | None = None
        self._storing = ThreadPoolExecutor(1, "wal-store")
        self._deleting = ThreadPoolExecutor(1, "wal-delete")

    def fileno(self) -> int:
        """Readable when something was stored, or failed, since ``hear``."""
        return self._news

    def hear(self) -> None:
        """Take note of the news. Raises what failed: StorageError, WalConflictError, DamageError."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._news)
        while self._tasks and self._tasks[0].done():
            self._tasks.popleft().result()

    @property
    def waiting(self) -> int:
        """How many pieces and segments are not stored yet."""
        return self._waiting

    @property
    def waiting_segments(self) -> int:
        """How many of these are whole segments."""
        return self._waiting_segments

    @property
    def busy_s(self) -> float:
        """For how long the oldest of them has been under way, in seconds."""
        began = self._began
        return 0.0 if began is None else clock.monotonic() - began

    def store_piece(self, buffer: SegmentBuffer) -> None:
        """Store what has come in of a segment since its last piece."""
        end = buffer.received
        self._submit(lambda: self._put_piece(buffer, end), buffer.segment.start + end)

    def store_segment(self, buffer: SegmentBuffer) -> None:
        """Store a whole segment in the place of its pieces."""
        with self._lock:
            self._waiting_segments += 1
        self._submit(lambda: self._put_segment(buffer), buffer.segment.stop)

    def sweep(self, names: Iterable[str]) -> None:
        """Delete pieces that an earlier run left behind and that are of no use any more."""
        for name in names:
            self._deleting.submit(_delete_quietly, self._archive, name)

    def close(self) -> None:
        """Begin nothing more; what is under way may go on until it is done, and is not waited for."""
        self._storing.shutdown(wait=False, cancel_futures=True)
        self._deleting.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            os.close(self._news)
            self._news = _CLOSED

    def _submit(self, work: Callable[[], None], end: Lsn) -> None:
        with self._lock:
            self._waiting += 1
            self._began = self._began or clock.monotonic()
        task = self._storing.submit(self._carry_out, work, end)
        self._tasks.append(task)
        task.add_done_callback(self._count_out)  # only then can a failure be heard of

    def _carry_out(self, work: Callable[[], None], end: Lsn) -> None:
        if not self._has_failed:  # nothing may count as stored beyond what is not
            self._has_failed = True
            work()
            self.stored = max(self.stored, end)
            self._has_failed = False

    def _count_out(self, _: Future[None]) -> None:
        with self._lock:
            self._waiting -= 1
            self._began = clock.monotonic() if self._waiting else None
            if self._news != _CLOSED:
                os.eventfd_write(self._news, 1)

    def _enter(self, segment: Segment) -> None:
        """Forget the pieces of another segment: one that was left for good, where its timeline ended, keeps them."""
        if segment != self._segment:
            self._segment = segment
            self._unproven.clear()
            self._leftover.clear()
            self._pieces = []

    def _put_piece(self, buffer: SegmentBuffer, end: int) -> None:
        self._enter(buffer.segment)
        self._prove(buffer, end)
        name = buffer.segment.name
        piece, absorbed = next_piece(self._pieces, end, buffer.segment.size_bytes // _ABSORB_PARTS)
        if piece.length:
            crashpoint.reach(CrashPoint.RECEIVE_RECEIVED)
            self._archive.push_content(piece.name(name), buffer.part(piece.begin, piece.end))
            crashpoint.reach(CrashPoint.RECEIVE_PIECE_STORED)
            self._pieces = [*self._pieces[: len(self._pieces) - len(absorbed)], piece]
            self._delete(name, absorbed)

    def _prove(self, buffer: SegmentBuffer, end: int) -> None:
        """Compare pieces of an earlier run with what has come in again; one that reaches further is not built on."""
        with suppress(DamageError):  # a damaged one is not built on either
            while self._unproven and self._unproven[0].end <= end:
                piece = self._unproven.popleft()
                self._archive.push_content(piece.name(buffer.segment.name), buffer.part(piece.begin, piece.end))
                self._pieces.append(piece)
        self._unproven.clear()

    def _put_segment(self, buffer: SegmentBuffer) -> None:
        self._enter(buffer.segment)
        name = buffer.segment.name
        self._archive.push_content(name, buffer.part(0, buffer.segment.size_bytes))
        with self._lock:
            self._waiting_segments -= 1
        crashpoint.reach(CrashPoint.RECEIVE_SEGMENT_STORED)
        self._delete(name, {*self._pieces, *self._leftover})

    def _delete(self, segment_name: str, pieces: Iterable[Piece]) -> None:
        self.sweep(piece.name(segment_name) for piece in pieces)


def _delete_quietly(archive: WalArchive, name: str) -> None:
    """Delete a piece that is superseded; where that fails, or is forbidden, it does no harm, and a later run tries."""
    with suppress(StorageError):
        archive.delete_piece(name)
        crashpoint.reach(CrashPoint.RECEIVE_PIECE_DELETED)
