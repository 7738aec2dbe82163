"""The WAL that a snapshot carries, by START_REPLICATION: received and stored while the files come, by its own thread.

So a long base backup piles no WAL up on the server: the temporary slot that has held it since before the start moves on
as WAL is stored. But what is stored here is durable only with the snapshot, and a commit that waits for a synchronous
standby must not be answered by a backup. A standby counts as one only while the last flushed position that it
reported is a valid one (``SyncRepGetCandidateStandbys`` in ``src/backend/replication/syncrep.c``), so a position that
moves the slot is taken back by the next message; and where the server could take us for one at all, none is reported.
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import ServerError, ServerUnreachableError
from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.replication_messages import Keepalive, StandbyStatus, WalData, instant
from holdfast.thread import Thread

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from holdfast.postgres.replication_stream import WalStream
    from holdfast.services.postgres.replication_segments import StoredSegments

_REPORT_EVERY_S = 10.0
_SILENT_TOO_LONG_S = 60.0
_WAKE_MS = 1000
_CHANGED_TIMELINE = "the server was promoted or changed its timeline during the backup, which is therefore void"


class ArrivingWal:
    """WAL on its way, as a context manager: entering begins, ``finish`` waits for the end; on a failure, it stops."""

    def __init__(self, stream: WalStream, segments: StoredSegments, *, slot_moves: bool) -> None:
        """``slot_moves``: the server may drop what is stored here, as it cannot take us for a synchronous standby."""
        self._stream, self._segments, self._slot_moves = stream, segments, slot_moves
        self._thread = Thread(self._run, "wal")
        self._lock = threading.Lock()  # one thread at a time may use the connection
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._end: Lsn | None = None
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._heard_at = self._reported_at = clock.monotonic()
        self.sent: datetime | None = None
        """The server's clock when it sent the last of it."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        self._rouse()
        self._thread.wait()
        os.close(self._wake)

    def keep_alive(self) -> None:
        """Tell the server, if it is time, that somebody is here; raise what ended the thread early.

        Called from outside, too: the thread may be held up by a slow repository for longer than the server waits.
        """
        if self._failure is not None:
            raise self._failure
        if clock.monotonic() - self._reported_at >= _REPORT_EVERY_S:
            self._report()

    def finish(self, end: Lsn) -> None:
        """Wait until all before ``end`` is stored, and end the stream: the connection takes commands again.

        ServerUnreachableError, ServerError (the timeline ended before), VerificationError, or why it was not stored.
        """
        self._end = end
        self._rouse()
        while not self._thread.wait(_REPORT_EVERY_S):
            self.keep_alive()
        if self._failure is not None:
            raise self._failure
        self._stream.end()

    def _rouse(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._stream.fileno(), select.POLLIN)
            poll.register(self._wake, select.POLLIN)
            while not self._is_done():
                if not self._receive():
                    poll.poll(_WAKE_MS)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits, and raised there
            self._failure = error

    def _is_done(self) -> bool:
        if self._end is not None and self._segments.received >= self._end:
            self._segments.store_rest()
            return True
        return self._is_stopping

    def _receive(self) -> bool:
        """Store what has come in; return whether there was anything."""
        with self._lock:
            arrived = [_kept(message) for message in self._stream.read()]
        stored_before = self._segments.stored
        for message in arrived:
            if isinstance(message, WalData):
                self._segments.take(message.start, message.data)
                self.sent = instant(message.sent)
        self._require_going_on(has_heard=bool(arrived))
        is_due = clock.monotonic() - self._reported_at >= _REPORT_EVERY_S
        if self._segments.stored > stored_before or is_due or any(map(_wants_reply, arrived)):
            self._report()
        return bool(arrived)

    def _require_going_on(self, *, has_heard: bool) -> None:
        now = clock.monotonic()
        if has_heard:
            self._heard_at = now
        if self._stream.has_ended:
            with self._lock:
                timeline_end = self._stream.end()
            if timeline_end is not None:
                raise ServerError(_CHANGED_TIMELINE, hint="run the backup again")
            raise ServerUnreachableError("the server ended the stream of WAL", hint="run the backup again")
        if now - self._heard_at > _SILENT_TOO_LONG_S:
            raise ServerUnreachableError(
                f"the server has been silent for {_SILENT_TOO_LONG_S:g} s", hint="run the backup again"
            )

    def _report(self) -> None:
        """Let the slot move on, take that position back, and ask for a sign of life."""
        received, stored = self._segments.received, self._segments.stored
        with self._lock:
            self._reported_at = clock.monotonic()
            if self._stream.has_ended:
                return
            if self._slot_moves and stored > NO_LSN:
                self._stream.report(StandbyStatus(received, stored))
            self._stream.report(StandbyStatus(received, NO_LSN, asks_for_reply=True))


def _kept(message: WalData | Keepalive) -> WalData | Keepalive:
    """Return a message that stays valid when the next one is asked for."""
    return message._replace(data=memoryview(bytes(message.data))) if isinstance(message, WalData) else message


def _wants_reply(message: WalData | Keepalive) -> bool:
    """Whether the server waits for an answer: when it stops, it does so until it hears that all WAL has come."""
    return isinstance(message, Keepalive) and message.wants_reply
