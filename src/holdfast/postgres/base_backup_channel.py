"""What BASE_BACKUP is read through: answers of the server, and between them the data of archives, as it comes.

There are two ways. ``LibpqChannel`` goes through libpq, message by message of 32 KiB, with the GIL held; that is needed
where libpq has to decrypt. Where it has not, ``base_backup_socket.py`` reads the socket itself.
"""

from __future__ import annotations

import math
import select
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import psycopg
from psycopg.pq import ExecStatus

from holdfast import clock
from holdfast.errors import InterruptedRunError, ServerError
from holdfast.postgres.replication_refusals import complaint_of, connection_lost

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

    from holdfast.postgres.replication_refusals import Complaint

DOING: Final = "receiving the base backup"
WAKE_S: Final = 1
ARCHIVE, MANIFEST, DATA = b"nmd"
"""How the content of a message begins: a new archive, the manifest, data of either. Others tell of progress."""

_ABANDONED_AFTER_S: Final = 60.0


class AnswerKind(Enum):
    """What the server says at one point of a command."""

    ROWS = "rows"
    COPY = "data follows"
    DONE = "done"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``rows`` are those of ROWS, as text, and ``complaint`` is that of ERROR."""

    kind: AnswerKind
    rows: tuple[tuple[bytes | None, ...], ...] = ()
    complaint: Complaint | None = None


class Channel(Protocol):
    """One command under way; for one thread at a time. ServerUnreachableError when the connection is lost."""

    notices: list[str]
    """What the server said by the way."""
    patience: Patience

    def send(self, command: str) -> None:
        """Send the command."""
        ...

    def answer(self) -> Answer | None:
        """Wait for the next answer; None when the server has finished with the command."""
        ...

    def read(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer`` with data; return how many bytes, 0 when something else than data follows.

        A long buffer is one that will be filled: it may be waited for.
        """
        ...

    def opening(self) -> bytes | None:
        """Return, after ``read`` gave 0, the message that follows, which begins something; None at the end of all."""
        ...

    def close(self) -> None:
        """Let go of the connection, which is closed next, or takes other commands where this one has finished."""
        ...


class Patience:
    """How long a server that sends nothing is waited for: as long as somebody wants the backup."""

    def __init__(self) -> None:
        self._wanted_at: float | None = None

    def renew(self) -> None:
        """Somebody still waits for the backup; from now on this must be said every few seconds."""
        self._wanted_at = clock.monotonic()

    def suspend(self) -> None:
        """Somebody waits, and need not say so again."""
        self._wanted_at = None

    def end(self) -> None:
        """Nobody waits any more."""
        self._wanted_at = -math.inf

    def require(self) -> None:
        """Raise InterruptedRunError when nobody waits any more: a thread would be left behind for ever."""
        if self._wanted_at is not None and clock.monotonic() - self._wanted_at > _ABANDONED_AFTER_S:
            raise InterruptedRunError("nobody waits for the base backup any more")


class LibpqChannel:
    """Through libpq, without ever blocking in it, which would keep all other threads from running (a Channel)."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.socket, select.POLLIN)
        self._data = memoryview(b"")
        self._opening: bytes | None = None
        self._has_ended = False
        self.notices: list[str] = []
        self.patience = Patience()
        connection.notice_handler = self._notice

    def send(self, command: str) -> None:
        """Send the command."""
        try:
            self._connection.send_query(command.encode())
        except psycopg.Error as error:
            raise connection_lost(DOING, error) from error

    def answer(self) -> Answer | None:
        """Wait for the next answer."""
        try:
            while self._connection.is_busy():
                self._wait()
            result = self._connection.get_result()
        except psycopg.Error as error:
            raise connection_lost(DOING, error) from error
        return None if result is None else _answer(result)

    def read(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer`` with data. This is the inner loop: each round is a message of 32 KiB."""
        while not self._data and self._opening is None and not self._has_ended:
            message = self._message()
            if message is None:
                self._has_ended = True
            elif message[0] == DATA:
                self._data = message[1:]
            elif message[0] in (ARCHIVE, MANIFEST):
                self._opening = bytes(message)
        part = self._data[: len(buffer)]
        buffer[: len(part)] = part
        self._data = self._data[len(part) :]
        return len(part)

    def opening(self) -> bytes | None:
        """Return the message that follows."""
        message, self._opening = self._opening, None
        return message

    def close(self) -> None:
        """Nothing was taken."""

    def _message(self) -> memoryview | None:
        """Return the next message, None when there are no more."""
        try:
            length, content = self._connection.get_copy_data(1)
            if not length:
                self._connection.consume_input()
                length, content = self._connection.get_copy_data(1)
            while not length:
                self._wait()
                length, content = self._connection.get_copy_data(1)
        except psycopg.Error as error:
            raise connection_lost(DOING, error) from error
        return memoryview(content) if length > 0 else None

    def _wait(self) -> None:
        if not self._poll.poll(WAKE_S * 1000):
            self.patience.require()
        self._connection.consume_input()

    def _notice(self, result: PGresult) -> None:
        self.notices.append(complaint_of(result).words)


def _answer(result: PGresult) -> Answer:
    if result.status == ExecStatus.TUPLES_OK:
        columns = range(result.nfields)
        rows = (tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples))
        return Answer(AnswerKind.ROWS, tuple(rows))
    if result.status == ExecStatus.COPY_OUT:
        return Answer(AnswerKind.COPY)
    if result.status == ExecStatus.COMMAND_OK:
        return Answer(AnswerKind.DONE)
    if result.status == ExecStatus.FATAL_ERROR:
        return Answer(AnswerKind.ERROR, complaint=complaint_of(result))
    raise ServerError(f"{DOING}: the server answered in a way that is not known", hint="look at its log")
