"""Following one timeline: WAL comes in, is laid into segments, is stored in its rhythm, and the server hears of it.

One thread waits for three things at once: the server, the storing, and the signal to stop. The flush position that the
server is told is what is durable in the repository; a server that stops waits for it, and so does a commit where this
receiver is a synchronous standby.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.errors import ServerUnreachableError, TransientStorageError
from holdfast.postgres.replication_messages import StandbyStatus, WalData
from holdfast.postgres.replication_refusals import WalRemovedError
from holdfast.wal.receive_state import now_text
from holdfast.wal.segment_buffer import SegmentBuffer

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.replication_stream import TimelineEnd, WalStream
    from holdfast.postgres.segment import Segment
    from holdfast.wal.receive_state import ReceiveStateFile
    from holdfast.wal.rhythm import Rhythm
    from holdfast.wal.storer import Storer

REPORT_EVERY_S = 10.0
"""As walreceiver's wal_receiver_status_interval; wal_sender_timeout is 60 s by default."""
ASK_AFTER_S, GIVE_UP_AFTER_S = 30.0, 60.0
"""Of silence. As walreceiver's wal_receiver_timeout, at half of which it asks for a sign of life."""
STUCK_AFTER_S = 30.0
"""The server wants its WAL taken and the repository does not take it: the server is let go, it may want to stop."""
_LITTLE_BYTES = 128 << 10
"""A server that sends more at a time is listened to without a pause, or its socket's buffer would slow it down."""
_WAITING_LIMIT, _WAITING_LIMIT_BYTES = 8, 48 << 20


class StopSignal(Protocol):
    """Tells that the work is to be ended in order."""

    @property
    def is_set(self) -> bool:
        """Whether it is to be ended."""
        ...

    def fileno(self) -> int:
        """Readable as soon as it is to be ended."""
        ...


@dataclass(frozen=True)
class FollowTools:
    """What a timeline is followed with, all of one session."""

    storer: Storer
    rhythm: Rhythm
    state: ReceiveStateFile
    stop: StopSignal
    spool: Path


class Follower:
    """Follows one timeline from the start of ``segment``; for one use."""

    def __init__(self, stream: WalStream, segment: Segment, tools: FollowTools) -> None:
        self._stream, self._tools = stream, tools
        self._buffer = SegmentBuffer(segment, tools.spool)
        self._waiting_limit = max(1, min(_WAITING_LIMIT_BYTES // segment.size_bytes, _WAITING_LIMIT))
        self._server_wants_all = False
        self._has_taken_little = False
        self._has_news = True
        self._reported = tools.storer.stored
        self._heard_at = self._reported_at = clock.monotonic()
        tools.state.state.timeline = int(segment.timeline)

    def run(self) -> TimelineEnd | None:
        """Follow until the timeline ends, the server stops or the stop signal comes; everything is stored by then.

        It is so, too, where the server was lost: one that takes the slot away removes what only we have then.

        ServerUnreachableError, ServerError, WalRemovedError; StorageError, WalConflictError.
        """
        try:
            self._receive()
        except (ServerUnreachableError, WalRemovedError):  # it may not have this WAL any more when we come back
            self._store_rest()
            self._note_progress()
            raise
        self._store_rest()
        self._report()
        return self._stream.end()

    def _receive(self) -> None:
        self._take_in()  # what came with the answer is not in the socket any more
        while not (self._stream.has_ended or self._tools.stop.is_set):
            if self._wait():
                self._take_in()
            self._store_if_due()
            self._tell()

    @property
    def _is_held_up(self) -> bool:
        """Whether so much waits to be stored that no more may come in."""
        return self._tools.storer.waiting_segments >= self._waiting_limit

    def _is_pausing(self, now: float) -> bool:
        """Whether what the server says can wait."""
        return self._has_taken_little and self._tools.rhythm.listens_at() > now

    def _wait(self) -> bool:
        """Wait until there is something to do; return whether the server is to be listened to."""
        tools, now = self._tools, clock.monotonic()
        sources: list[Storer | StopSignal | WalStream] = [tools.storer, tools.stop]
        wake_at = now + 1
        is_listening = not (self._is_held_up or self._is_pausing(now))
        if is_listening:
            sources.append(self._stream)
        elif not self._is_held_up:
            wake_at = tools.rhythm.listens_at()
        if (due_at := tools.rhythm.due_at()) is not None and not tools.storer.waiting:
            wake_at = min(wake_at, due_at)
        select.select(sources, [], [], max(0.0, wake_at - now))  # poll(2) knows no part of a millisecond
        tools.storer.hear()
        if not tools.storer.waiting:
            tools.rhythm.has_stored()
        return is_listening

    def _take_in(self) -> None:
        """Take in all that is there."""
        taken_bytes, message = 0, None
        for message in self._stream.read():
            if isinstance(message, WalData):
                taken_bytes += len(message.data)
                self._lay(message.start, message.data)
            elif message.wants_reply:
                self._server_wants_all = self._has_news = True
        if message is not None:
            state = self._tools.state.state
            self._heard_at, state.last_message = clock.monotonic(), now_text()
            state.server_lsn = str(message.server_end)
        self._has_taken_little = taken_bytes < _LITTLE_BYTES

    def _lay(self, position: Lsn, data: memoryview) -> None:
        self._tools.rhythm.received(clock.monotonic())
        while data:
            rest = self._buffer.append(position, data)
            position, data = self._buffer.position, rest
            if self._buffer.is_full:
                self._tools.storer.store_segment(self._buffer)
                self._tools.rhythm.began_to_store(clock.monotonic())
                self._buffer = SegmentBuffer(self._buffer.segment.next(), self._tools.spool)
                if data:
                    self._tools.rhythm.received(clock.monotonic())

    def _store_if_due(self) -> None:
        tools, now = self._tools, clock.monotonic()
        due_at = tools.rhythm.due_at()
        if due_at is None or tools.storer.waiting:  # what comes in meanwhile goes together into the next piece
            return
        if now >= due_at or self._server_wants_all:
            tools.storer.store_piece(self._buffer)
            tools.rhythm.began_to_store(now)

    def _store_rest(self) -> None:
        tools = self._tools
        if tools.rhythm.due_at() is not None:
            tools.storer.store_piece(self._buffer)
        while tools.storer.waiting:
            select.select([tools.storer], [], [], 1)
            tools.storer.hear()
            self._require_progress()
        tools.storer.hear()

    def _tell(self) -> None:
        """Tell the server what is new, and that we live; notice when it does not."""
        now, state = clock.monotonic(), self._tools.state
        if self._has_news or self._tools.storer.stored != self._reported or now - self._reported_at > REPORT_EVERY_S:
            self._report()
        if self._is_held_up:
            self._heard_at = now  # we do not listen
        silence_s = now - self._heard_at
        if silence_s > GIVE_UP_AFTER_S:
            raise ServerUnreachableError(
                f"the server has been silent for {GIVE_UP_AFTER_S:g} s", hint="it is connected to again"
            )
        if silence_s > ASK_AFTER_S and now - self._reported_at > 1:
            self._report(asks_for_reply=True)
        if self._server_wants_all or self._is_held_up:
            self._require_progress()
        state.write_sometimes()

    def _report(self, *, asks_for_reply: bool = False) -> None:
        stored = self._note_progress()
        if not self._stream.has_ended:
            self._stream.report(StandbyStatus(self._buffer.position, stored, asks_for_reply))
        self._has_news, self._reported, self._reported_at = False, stored, clock.monotonic()
        if stored == self._buffer.position:
            self._server_wants_all = False

    def _note_progress(self) -> Lsn:
        """Note how far we came; return the position before which everything is stored."""
        stored, state = self._tools.storer.stored, self._tools.state.state
        if stored != self._reported:
            state.stored_lsn, state.last_stored = str(stored), now_text()
        state.received_lsn = str(self._buffer.position)
        return stored

    def _require_progress(self) -> None:
        if self._tools.storer.busy_s > STUCK_AFTER_S:
            raise TransientStorageError(
                f"the repository has not taken WAL for {STUCK_AFTER_S:g} s, and the server waits",
                hint="the slot keeps the WAL on the server meanwhile; watch the disk of pg_wal",
            )
