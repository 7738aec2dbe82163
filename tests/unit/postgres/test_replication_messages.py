"""Replication messages in and out of bytes; what is none is refused."""

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.replication_messages import (
    Keepalive,
    StandbyStatus,
    WalData,
    instant,
    parse_message,
    render_status,
)

LSNS = st.integers(0, MAX_LSN).map(Lsn)


@given(LSNS, LSNS, st.integers(0, 2**62), st.binary(max_size=200))
def test_wal_data(start, server_end, clock, data):
    message = parse_message(memoryview(struct.pack(">cQQq", b"w", start, server_end, clock) + data))
    assert isinstance(message, WalData)
    assert (message.start, message.server_end, bytes(message.data)) == (start, server_end, data)


@given(LSNS, st.integers(0, 2**62), st.booleans())
def test_keepalive(server_end, clock, wants_reply):
    message = parse_message(memoryview(struct.pack(">cQq?", b"k", server_end, clock, wants_reply)))
    assert message == Keepalive(server_end, wants_reply)


@given(LSNS, LSNS, st.booleans(), st.integers(0, 2**52))
def test_status(received, flushed, asks, microseconds):
    at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    content = render_status(StandbyStatus(received, flushed, asks), at)
    kind, written, durable, applied, clock, reply = struct.unpack(">cQQQq?", content)
    assert (kind, written, durable, applied, reply) == (b"r", received, flushed, 0, asks)
    assert clock == microseconds


@given(st.binary(max_size=40))
def test_anything_else_is_refused_or_is_a_message(content):
    try:
        message = parse_message(memoryview(content))
    except VerificationError:
        assert content[:1] not in {b"w", b"k"} or len(content) != 18
    else:
        assert content[:1] == (b"w" if isinstance(message, WalData) else b"k")


@pytest.mark.parametrize("content", [b"", b"w", b"k" + bytes(16), b"k" + bytes(18), b"x" + bytes(40)])
def test_truncated_and_unknown_ones_are_refused(content):
    with pytest.raises(VerificationError, match="cannot be read"):
        parse_message(memoryview(content))


@pytest.mark.parametrize("sent", [2**63 - 1, -(2**63)])
def test_a_time_that_no_calendar_has_is_refused(sent):
    """It was an internal error, which named neither the server nor its clock."""
    with pytest.raises(VerificationError, match="a time that cannot be"):
        instant(sent)


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_instant_of_a_message(at):
    assert instant((at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)) == at
