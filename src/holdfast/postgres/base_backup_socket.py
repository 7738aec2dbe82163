"""BASE_BACKUP read from the socket itself, past libpq: a span of a file by one call, and without the GIL.

libpq gives one message of 32 KiB at a time, copied twice: the threads that compress then wait for the GIL, and the
server for us. Here the kernel puts the data of hundreds of messages where it belongs, and their headers aside. This
speaks the protocol for the time of one command, from a connection at rest until it rests again, so libpq need not know
(manual, chapter "Frontend/Backend Protocol", section "Message Formats"). Only for connections that are not encrypted.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from holdfast.errors import ServerUnreachableError, reason_of
from holdfast.postgres.base_backup_channel import ARCHIVE, DATA, DOING, MANIFEST, WAKE_S, Answer, AnswerKind, Patience
from holdfast.postgres.base_backup_messages import (
    DATA_HEADER_BYTES,
    HEADER,
    LENGTH_BYTES,
    complaint_in,
    content_bytes,
    data_bytes,
    require_known,
    row_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_STAGE_BYTES: Final = 9 << 20
"""Room for a span of 8 MiB with its headers, should they be others than was expected."""
_WORTH_SCATTERING_BYTES: Final = 256 << 10
_MESSAGES_AT_ONCE: Final = 511
"""Each takes two places, of which a call fills 1024 at most (UIO_MAXIOV in Linux)."""
_TIMEOUT: Final = struct.Struct("ll")
_OPENINGS: Final = {bytes([letter]) for letter in (ARCHIVE, MANIFEST)}
_LOST_HINT: Final = "the connection was lost; try again"


class SocketChannel:
    """The socket of an idle connection, for one command (a Channel).

    What was received and not yet taken lies in ``_stage`` from ``_at`` to ``_end``; ``_left`` bytes of the present
    message's data are still to be read. ``_usual`` is the header of the longest message of data so far: those of a
    large file are all alike, but for the last.
    """

    def __init__(self, descriptor: int) -> None:
        """Borrow the socket of a connection; it blocks meanwhile, for WAKE_S at a time."""
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(WAKE_S, 0))
        self._stage = memoryview(bytearray(_STAGE_BYTES))
        self._at = self._end = self._left = 0
        self._usual = b""
        self._headers = [memoryview(bytearray(DATA_HEADER_BYTES)) for _ in range(_MESSAGES_AT_ONCE)]
        self._opening: bytes | None = None
        self._copies = False
        self.notices: list[str] = []
        self.patience = Patience()

    def send(self, command: str) -> None:
        """Send the command."""
        content = command.encode() + b"\0"
        try:
            self._socket.sendall(HEADER.pack(b"Q", len(content) + LENGTH_BYTES) + content)
        except OSError as error:
            raise _lost(error) from error

    def answer(self) -> Answer | None:
        """Wait for the next answer."""
        rows: list[tuple[bytes | None, ...]] = []
        has_rows = False
        while True:
            kind, content = self._message()
            if kind == b"T":
                has_rows = True
            elif kind == b"D":
                rows.append(row_in(content))
            elif kind == b"C":
                return Answer(AnswerKind.ROWS, tuple(rows)) if has_rows else Answer(AnswerKind.DONE)
            elif kind == b"H":
                self._copies = True
                return Answer(AnswerKind.COPY)
            elif kind == b"E":
                return Answer(AnswerKind.ERROR, complaint=complaint_in(content))
            elif kind == b"Z":
                return None

    def read(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer`` with data: with many messages at once where much is to come."""
        if self._is_worth_scattering(buffer) and (count := self._scatter(buffer)):
            return count
        while not self._left:
            if not self._next_has_data():
                return 0
            self._begin_data()
        while self._at == self._end:  # each wait ends after WAKE_S, with nothing where the server pauses
            self._receive()
        part = self._stage[self._at : min(self._at + min(self._left, len(buffer)), self._end)]
        buffer[: len(part)] = part
        self._at += len(part)
        self._left -= len(part)
        return len(part)

    def opening(self) -> bytes | None:
        """Return the message that follows."""
        message, self._opening = self._opening, None
        return message

    def close(self) -> None:
        """Leave the socket as libpq had it."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(0, 0))
        self._socket.settimeout(0)
        self._socket.close()

    # -- messages of data

    def _next_has_data(self) -> bool:
        """Come to the next message of data; False when something else follows, or nothing."""
        while self._copies and self._opening is None:
            self._require(DATA_HEADER_BYTES)
            kind, length = HEADER.unpack_from(self._stage, self._at)
            if kind == b"E":  # left to be read as the answer
                self._copies = False
            elif kind == b"d" and length > LENGTH_BYTES and self._stage[self._at + HEADER.size] == DATA:
                return True
            else:
                kind, content = self._message()
                if kind == b"c":
                    self._copies = False
                elif kind == b"d" and content[:1] in _OPENINGS:
                    self._opening = content
        return False

    def _begin_data(self) -> None:
        header = bytes(self._stage[self._at : self._at + DATA_HEADER_BYTES])
        self._left = data_bytes(header)
        self._at += DATA_HEADER_BYTES
        if self._left > (data_bytes(self._usual) if self._usual else 0):
            self._usual = header

    def _is_worth_scattering(self, buffer: memoryview) -> bool:
        is_amid_data = self._copies and self._opening is None and self._at == self._end and bool(self._usual)
        return is_amid_data and len(buffer) - self._left >= _WORTH_SCATTERING_BYTES

    def _scatter(self, buffer: memoryview) -> int:
        """Receive the rest of the present message and as many usual ones as have room, all data in its place.

        Returns how much of ``buffer`` is filled. What turns out to be something else goes to the stage. All of it is
        waited for, WAKE_S at most: to be woken for every 8 KiB that a server sends costs more than to copy them.
        """
        size, first = data_bytes(self._usual), self._left
        count = min((len(buffer) - first) // size, _STAGE_BYTES // (size + DATA_HEADER_BYTES), _MESSAGES_AT_ONCE)
        if not count:
            return 0
        places = [buffer[:first]] * (1 + 2 * count)
        places[1::2] = self._headers[:count]
        places[2::2] = [buffer[at : at + size] for at in range(first, first + count * size, size)]
        received = self._received(lambda: self._socket.recvmsg_into(places, 0, socket.MSG_WAITALL)[0])
        of_first = min(received, first)
        self._left -= of_first
        usual = self._usual_among((received - of_first) // (size + DATA_HEADER_BYTES))
        self._put_back(places[1 + 2 * usual :], received - of_first - usual * (size + DATA_HEADER_BYTES))
        return of_first + usual * size

    def _usual_among(self, count: int) -> int:
        """Return how many of the first messages that were scattered are usual ones."""
        headers = b"".join(self._headers[:count])
        if headers == self._usual * count:
            return count
        return next(number for number, header in enumerate(self._headers) if header != self._usual)

    def _put_back(self, places: list[memoryview], length: int) -> None:
        """Put the first bytes of what came into ``places`` onto the stage, which is empty."""
        self._at = self._end = 0
        for place in places:
            part = place[: length - self._end]
            self._stage[self._end : self._end + len(part)] = part
            self._end += len(part)
            if self._end == length:
                return

    # -- all messages

    def _message(self) -> tuple[bytes, bytes]:
        """Return the letter and the content of the next message."""
        self._require(HEADER.size)
        kind, length = HEADER.unpack_from(self._stage, self._at)
        self._at += HEADER.size
        content = self._take(content_bytes(length))
        require_known(kind)
        if kind == b"N":
            self.notices.append(complaint_in(content).words)
        return kind, content

    def _take(self, length: int) -> bytes:
        parts = []
        while length:
            self._require(1)
            part = bytes(self._stage[self._at : min(self._at + length, self._end)])
            parts.append(part)
            self._at += len(part)
            length -= len(part)
        return b"".join(parts)

    def _require(self, count: int) -> None:
        while self._end - self._at < count:
            self._receive()

    def _receive(self) -> None:
        """Receive what is there onto the stage."""
        rest = self._stage[self._at : self._end]
        self._stage[: len(rest)] = rest
        self._at, self._end = 0, len(rest)
        room = self._stage[self._end :]
        self._end += self._received(lambda: self._socket.recv_into(room))

    def _received(self, receive: Callable[[], int]) -> int:
        """Return how many bytes a call received; 0 where nothing came within WAKE_S."""
        try:
            count = receive()
        except BlockingIOError:
            self.patience.require()
            return 0
        except OSError as error:
            raise _lost(error) from error
        if not count:
            raise ServerUnreachableError(f"{DOING}: the server closed the connection", hint=_LOST_HINT)
        return count


def _lost(error: OSError) -> ServerUnreachableError:
    return ServerUnreachableError(f"{DOING}: {reason_of(error)}", hint=_LOST_HINT)
