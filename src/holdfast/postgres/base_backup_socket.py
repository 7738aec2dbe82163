"""BASE_BACKUP read from the socket itself, past libpq: many messages are taken in at once, and without the GIL.

libpq gives one message of 32 KiB at a time, copied twice: the threads that compress then wait for the GIL, and the
server for us. This speaks the protocol for the time of one command, from a connection at rest until it rests again, so
libpq need not know (manual, chapter "Frontend/Backend Protocol", sections "Message Formats" and "Error and Notice
Message Fields"). Only for connections that are not encrypted.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

import numpy as np

from holdfast.errors import ServerUnreachableError, VerificationError
from holdfast.postgres.base_backup_channel import ARCHIVE, DATA, DOING, MANIFEST, WAKE_S, Answer, AnswerKind, Patience
from holdfast.postgres.replication_refusals import Complaint

_STAGE_BYTES: Final = 9 << 20
"""Room for a span of 8 MiB with its headers: after each call this thread waits for the GIL, and the server for it."""
_WORTH_WAITING_BYTES: Final = 64 << 10
_HEADER: Final = struct.Struct(">cI")  # a letter, and the length of what follows it, these four bytes included
_LENGTH_BYTES: Final = 4
_DATA_HEADER_BYTES: Final = _HEADER.size + 1
_TIMEOUT: Final = struct.Struct("ll")
_KNOWN: Final = {bytes([letter]) for letter in b"TDCHEZcdNSA"}
_OPENINGS: Final = {bytes([letter]) for letter in (ARCHIVE, MANIFEST)}
_LONGEST_BYTES: Final = 64 << 20
_LOST_HINT: Final = "the connection was lost; try again"


class SocketChannel:
    """The socket of an idle connection, for one command (a Channel).

    Messages lie in ``_stage`` from ``_at`` to ``_end``; ``_left`` bytes of the present one's data are still to be read.
    """

    def __init__(self, descriptor: int) -> None:
        """Borrow the socket of a connection; it blocks meanwhile, for WAKE_S at a time."""
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(WAKE_S, 0))
        self._stage = memoryview(bytearray(_STAGE_BYTES))
        self._at = self._end = self._left = 0
        self._opening: bytes | None = None
        self._copies = False
        self.notices: list[str] = []
        self.patience = Patience()

    def send(self, command: str) -> None:
        """Send the command."""
        content = command.encode() + b"\0"
        try:
            self._socket.sendall(_HEADER.pack(b"Q", len(content) + _LENGTH_BYTES) + content)
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
                rows.append(_row(content))
            elif kind == b"C":
                return Answer(AnswerKind.ROWS, tuple(rows)) if has_rows else Answer(AnswerKind.DONE)
            elif kind == b"H":
                self._copies = True
                return Answer(AnswerKind.COPY)
            elif kind == b"E":
                return Answer(AnswerKind.ERROR, complaint=_complaint(content))
            elif kind == b"Z":
                return None

    def read(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer`` with data: with many messages at once where they are alike, as most are."""
        while not self._left:
            if not self._next_has_data():
                return 0
            count = self._take_alike(buffer)
            if count:
                return count
            self._left = self._message_bytes() - _DATA_HEADER_BYTES
            self._at += _DATA_HEADER_BYTES
        while self._at == self._end:  # each wait ends after WAKE_S, with nothing where the server pauses
            self._receive(len(buffer))
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

    def _next_has_data(self) -> bool:
        """Come to the next message of data; False when something else follows, or nothing."""
        while self._copies and self._opening is None:
            self._require(_DATA_HEADER_BYTES)
            kind, length = _HEADER.unpack_from(self._stage, self._at)
            if kind == b"E":  # left to be read as the answer
                self._copies = False
            elif kind == b"d" and length > _LENGTH_BYTES and self._stage[self._at + _HEADER.size] == DATA:
                return True
            else:
                kind, content = self._message()
                if kind == b"c":
                    self._copies = False
                elif kind == b"d" and content[:1] in _OPENINGS:
                    self._opening = content
        return False

    def _take_alike(self, buffer: memoryview) -> int:
        """Take the data of as many whole messages as begin with the same bytes and have room; return how much it is."""
        size = self._message_bytes()
        content_bytes = size - _DATA_HEADER_BYTES
        if not content_bytes:
            return 0
        count = min((self._end - self._at) // size, len(buffer) // content_bytes)
        if not count and min(len(buffer), _STAGE_BYTES) >= size:
            self._receive(len(buffer))
            count = min((self._end - self._at) // size, len(buffer) // content_bytes)
        if not count:
            return 0
        messages: np.ndarray = np.frombuffer(self._stage, np.uint8, count * size, self._at).reshape(count, size)
        is_alike = (messages[:, :_DATA_HEADER_BYTES] == messages[0, :_DATA_HEADER_BYTES]).all(axis=1)
        count = count if is_alike.all() else int(np.argmin(is_alike))
        taken = np.frombuffer(buffer, np.uint8, count * content_bytes).reshape(count, content_bytes)
        np.copyto(taken, messages[:count, _DATA_HEADER_BYTES:])
        self._at += count * size
        return count * content_bytes

    def _message_bytes(self) -> int:
        """Return how long the next message is, its header included."""
        length: int = _HEADER.unpack_from(self._stage, self._at)[1]
        if length > _LONGEST_BYTES:
            raise _absurd(length)
        return length + 1

    def _message(self) -> tuple[bytes, bytes]:
        """Return the letter and the content of the next message."""
        self._require(_HEADER.size)
        kind, length = _HEADER.unpack_from(self._stage, self._at)
        self._at += _HEADER.size
        content = self._take(length - _LENGTH_BYTES)
        if kind not in _KNOWN:
            raise VerificationError(
                f"the server sent a message that is not known: {kind!r}",
                hint="see whether a pooler or proxy answers in the server's place: connect to the server itself",
            )
        if kind == b"N":
            self.notices.append(_complaint(content).words)
        return kind, content

    def _take(self, length: int) -> bytes:
        if not 0 <= length <= _LONGEST_BYTES:
            raise _absurd(length)
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
            self._receive(count)

    def _receive(self, coming: int) -> None:
        """Receive what is there; where at least ``coming`` bytes must come, and are many, wait until they have."""
        rest = self._stage[self._at : self._end]
        self._stage[: len(rest)] = rest
        self._at, self._end = 0, len(rest)
        room = self._stage[self._end :]
        wanted = coming - len(rest)
        try:
            if wanted >= _WORTH_WAITING_BYTES:
                count = self._socket.recv_into(room, min(wanted, len(room)), socket.MSG_WAITALL)
            else:
                count = self._socket.recv_into(room)
        except BlockingIOError:
            self.patience.require()
            return
        except OSError as error:
            raise _lost(error) from error
        if not count:
            raise ServerUnreachableError(f"{DOING}: the server closed the connection", hint=_LOST_HINT)
        self._end += count


def _row(content: bytes) -> tuple[bytes | None, ...]:
    values: list[bytes | None] = []
    try:
        (count,), at = struct.unpack_from(">H", content), 2
        for _ in range(count):
            (length,), at = struct.unpack_from(">i", content, at), at + 4
            values.append(None if length < 0 else content[at : at + length])
            at += max(length, 0)
    except struct.error:
        raise _absurd(len(content)) from None
    return tuple(values)


def _complaint(content: bytes) -> Complaint:
    fields = {field[:1]: field[1:].decode(errors="replace") for field in content.split(b"\0") if field}
    return Complaint(
        state=fields.get(b"C", ""), words=fields.get(b"M", ""), detail=fields.get(b"D", ""), hint=fields.get(b"H", "")
    )


def _absurd(length: int) -> VerificationError:
    return VerificationError(
        f"the server sent a message that cannot be one: {length} bytes long",
        hint="see whether a pooler or proxy answers in the server's place, then run the backup again",
    )


def _lost(error: OSError) -> ServerUnreachableError:
    return ServerUnreachableError(f"{DOING}: {error.strerror}", hint=_LOST_HINT)
