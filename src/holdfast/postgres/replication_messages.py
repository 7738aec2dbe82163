"""The messages of streaming replication, in and out of bytes (manual, section 55.4 "Streaming Replication Protocol").

They travel inside the CopyData messages of a connection that streams. All numbers are big-endian; instants are
microseconds since 2000-01-01 in UTC.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import NO_LSN, Lsn

_WAL_DATA = struct.Struct(">cQQq")
_KEEPALIVE = struct.Struct(">cQq?")
_STATUS = struct.Struct(">cQQQq?")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class WalData(NamedTuple):
    """A run of WAL bytes that begins at ``start``; ``server_end`` is how far the server had flushed its WAL.

    ``sent`` is the server's clock, as it comes; ``instant`` reads it.
    """

    start: Lsn
    server_end: Lsn
    data: memoryview
    sent: int = 0


class Keepalive(NamedTuple):
    """Sign of life. ``wants_reply``: the server ends the connection unless it is answered soon."""

    server_end: Lsn
    wants_reply: bool


class StandbyStatus(NamedTuple):
    """What the server is told: how far WAL has come in, and how far it is durable. Nothing is ever applied here."""

    received: Lsn
    flushed: Lsn
    asks_for_reply: bool = False


def parse_message(content: memoryview) -> WalData | Keepalive:
    """Return the message; ``WalData.data`` is a view of ``content``. VerificationError when it is none."""
    kind = bytes(content[:1])
    if kind == b"w" and len(content) >= _WAL_DATA.size:
        _, start, server_end, sent = _WAL_DATA.unpack_from(content)
        return WalData(Lsn(start), Lsn(server_end), content[_WAL_DATA.size :], sent)
    if kind == b"k" and len(content) == _KEEPALIVE.size:
        _, server_end, _, wants_reply = _KEEPALIVE.unpack(content)
        return Keepalive(Lsn(server_end), wants_reply)
    raise VerificationError(
        f"the server sent a replication message that cannot be read: {kind!r}, {len(content)} bytes",
        hint="this version of the server may be newer than this Holdfast",
    )


def instant(sent: int) -> datetime:
    """Return the instant (aware, UTC) that a message was sent at; VerificationError for one that no calendar has."""
    try:
        return _EPOCH + timedelta(microseconds=sent)
    except OverflowError:
        raise VerificationError(
            f"the server tells a time that cannot be: {sent} us since 2000",
            hint="see whether the server's clock is right, and whether a pooler or proxy answers in its place",
        ) from None


def render_status(status: StandbyStatus, at: datetime) -> bytes:
    """Return the standby status update; ``at`` is our clock.

    The applied position is "none": a server that waits for it (``synchronous_commit = remote_apply``) waits in vain.
    """
    microseconds = (at - _EPOCH) // _MICROSECOND
    return _STATUS.pack(b"r", status.received, status.flushed, NO_LSN, microseconds, status.asks_for_reply)
