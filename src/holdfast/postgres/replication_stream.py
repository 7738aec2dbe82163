"""WAL as it flows: the copy-both mode that START_REPLICATION puts a connection into, without ever waiting in it.

Who reads waits for ``fileno`` to become readable, together with whatever else it waits for, then calls ``read``. The
server ends a stream in three ways: at the end of the timeline, in order at its shutdown, or with an error (manual,
section 55.4; ``HandleEndOfCopyStream`` in ``src/bin/pg_basebackup/receivelog.c``).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import ExecStatus

from holdfast import clock
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.replication_messages import Keepalive, StandbyStatus, WalData, parse_message, render_status
from holdfast.postgres.replication_refusals import command_refusal, connection_lost
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn, PGresult

READ_LIMIT_BYTES = 4 << 20
"""``read`` returns about here at the latest, so that nobody waits for a server that is faster than its reader."""

_DOING = "receiving WAL"
_NOTHING_YET, _COPY_DONE = 0, -1


@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """The server has left this timeline: the WAL goes on at ``switch`` on timeline ``next``."""

    next: Timeline
    switch: Lsn


class WalStream:
    """A stream under way. Not for several threads at once."""

    def __init__(self, connection: PGconn) -> None:
        """Take over a connection that is in copy-both mode."""
        self._connection = connection
        connection.nonblocking = 1
        self.has_ended = False

    def fileno(self) -> int:
        """The socket: readable when the server has sent something, or is gone."""
        return self._connection.socket

    def read(self) -> Iterator[WalData | Keepalive]:
        """Yield what has come in, until nothing more is there; each message is valid until the next is asked for.

        When the server has ended the stream, ``has_ended`` is true afterwards. ServerUnreachableError when the
        connection is lost, ServerError when the server gave up; WalRemovedError when it lacks the WAL.
        """
        taken_bytes = 0
        while not self.has_ended and taken_bytes < READ_LIMIT_BYTES:
            before = taken_bytes
            with _translated():
                self._connection.consume_input()
            while True:
                with _translated():
                    length, content = self._connection.get_copy_data(1)
                if length <= _NOTHING_YET:
                    self.has_ended = length == _COPY_DONE
                    break
                taken_bytes += length
                yield parse_message(content)
            if taken_bytes == before:
                return

    def report(self, status: StandbyStatus) -> None:
        """Tell the server how far WAL has come in and how far it is durable; it is not waited for."""
        with _translated():
            self._connection.put_copy_data(render_status(status, clock.now()))
            self._connection.flush()

    def end(self) -> TimelineEnd | None:
        """End the stream and hear how it ended; None: the server stops, or we were the ones to end it.

        Afterwards the connection takes commands again, unless the server closed it. Errors as in ``read``.
        """
        self._connection.nonblocking = 0
        with _translated():
            if not self.has_ended:
                self._connection.put_copy_end()
                self._skip_copy_data()
            return self._outcome()

    def _skip_copy_data(self) -> None:
        """Pass over what was under way when we ended the stream."""
        while not self.has_ended:
            length, _ = self._connection.get_copy_data(0)
            self.has_ended = length == _COPY_DONE

    def _outcome(self) -> TimelineEnd | None:
        found, is_over = None, False
        while (result := self._connection.get_result()) is not None:
            if result.status == ExecStatus.COPY_IN:  # the server has ended its half and waits for ours
                self._connection.put_copy_end()
            elif result.status == ExecStatus.TUPLES_OK and result.ntuples == 1:
                found = _timeline_end(result)
            elif result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
                is_over = True
            elif not is_over:  # what follows the end is the connection's own end, when the server stops
                raise command_refusal(_DOING, result)
        return found


def _timeline_end(result: PGresult) -> TimelineEnd:
    timeline, switch = ((result.get_value(0, column) or b"").decode(errors="replace") for column in (0, 1))
    return TimelineEnd(Timeline.parse_decimal(timeline), Lsn.parse(switch))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise connection_lost(_DOING, error) from error
