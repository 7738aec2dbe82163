"""The messages in which a server answers a command and sends a base backup, as their bytes are on the wire.

A letter, a length of four bytes that counts itself, the content (manual, chapter "Frontend/Backend Protocol", sections
"Message Formats" and "Error and Notice Message Fields"). Within CopyData, a letter again says what it is data of.
"""

from __future__ import annotations

import struct
from typing import Final

from holdfast.errors import VerificationError
from holdfast.postgres.replication_refusals import Complaint

HEADER: Final = struct.Struct(">cI")
LENGTH_BYTES: Final = 4
DATA_HEADER_BYTES: Final = HEADER.size + 1
"""What precedes the data in CopyData: its header, and the letter that says so."""

_KNOWN: Final = {bytes([letter]) for letter in b"TDCHEZcdNSA"}
_LONGEST_BYTES: Final = 64 << 20


def content_bytes(length: int) -> int:
    """Return how long the content is of a message that says ``length`` of itself; VerificationError when it cannot."""
    if not LENGTH_BYTES <= length <= _LONGEST_BYTES:
        raise _absurd(length)
    return length - LENGTH_BYTES


def data_bytes(header: bytes) -> int:
    """Return how much data follows such a header of CopyData."""
    length: int = HEADER.unpack_from(header)[1]
    return content_bytes(length) - 1


def require_known(kind: bytes) -> None:
    """Raise VerificationError for a letter that no server of PostgreSQL sends here."""
    if kind not in _KNOWN:
        raise VerificationError(
            f"the server sent a message that is not known: {kind!r}",
            hint="see whether a pooler or proxy answers in the server's place: connect to the server itself",
        )


def row_in(content: bytes) -> tuple[bytes | None, ...]:
    """Return the values of a DataRow."""
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


def complaint_in(content: bytes) -> Complaint:
    """Return what an ErrorResponse or NoticeResponse says."""
    fields = {field[:1]: field[1:].decode(errors="replace") for field in content.split(b"\0") if field}
    return Complaint(
        state=fields.get(b"C", ""), words=fields.get(b"M", ""), detail=fields.get(b"D", ""), hint=fields.get(b"H", "")
    )


def _absurd(length: int) -> VerificationError:
    return VerificationError(
        f"the server sent a message that cannot be one: {length} bytes long",
        hint="see whether a pooler or proxy answers in the server's place, then run the backup again",
    )
