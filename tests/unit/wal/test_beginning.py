"""The beginning of a segment is the one that reaches furthest, by its records, whatever lies behind them."""

from __future__ import annotations

import pytest
from tests.unit.postgres.walwriting import SYSTEM_IDENTIFIER, WalWriter

from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.beginning import find_beginning
from holdfast.wal.names import piece_name

SIZE = 1 << 20
SEGMENT = Segment(Timeline(1), 1, SIZE)


@pytest.fixture
def archive() -> WalArchive:
    return WalArchive(MemoryStorage(), Keys("00" * 16, new_keyring()), str(SYSTEM_IDENTIFIER))


@pytest.fixture(scope="module")
def wal() -> WalWriter:
    """A segment in the middle of which two servers were promoted, at ends within one page."""
    writer = WalWriter(first_segment=1)
    writer.fill(40)
    for xid in range(700, 720):
        writer.end_transaction(xid, 1)
    return writer


def recycled(content: bytes, end: int) -> bytes:
    """Return the content up to an end, in a file that was another segment of the same server before."""
    older = WalWriter(first_segment=1)
    older.fill(130)
    return content[:end] + older.segment(1)[end : -(-end // 8192) * 8192] + bytes([7]) * (SIZE - -(-end // 8192) * 8192)


def ends(wal: WalWriter) -> tuple[int, int]:
    """Return two ends of records, in bytes within the segment, close to each other."""
    return wal.records[-10].end - SEGMENT.start, wal.records[-1].end - SEGMENT.start


def test_of_two_partials_the_one_with_more_records_is_taken_though_the_other_is_full_of_what_was_there(archive, wal):
    short, long = ends(wal)
    assert short // 8192 == long // 8192
    first, second = recycled(wal.segment(1), short), wal.segment(1)
    archive.push(f"{SEGMENT.name}.partial", first)
    archive.push(f"{SEGMENT.name}.partial", second)
    beginning = find_beginning(archive, SEGMENT, archive.list())
    assert beginning is not None
    assert beginning.length_bytes == long
    assert b"".join(map(bytes, beginning.content.frames())) == second


def test_pieces_that_reach_further_are_taken_though_the_partial_is_full_of_what_was_there(archive, wal):
    short, long = ends(wal)
    archive.push(f"{SEGMENT.name}.partial", recycled(wal.segment(1), short))
    archive.push(piece_name(SEGMENT.name, 0, long), wal.segment(1)[:long])
    beginning = find_beginning(archive, SEGMENT, archive.list())
    assert beginning is not None
    assert beginning.length_bytes == long
    assert b"".join(map(bytes, beginning.content.frames())) == wal.segment(1)


def test_a_partial_with_a_damaged_record_reaches_to_before_it(archive, wal):
    content = bytearray(wal.segment(1))
    damaged = wal.records[-5]
    content[damaged.start - SEGMENT.start + 26] ^= 1
    archive.push(f"{SEGMENT.name}.partial", bytes(content))
    beginning = find_beginning(archive, SEGMENT, archive.list())
    assert beginning is not None
    assert beginning.length_bytes <= damaged.start - SEGMENT.start + 8192
