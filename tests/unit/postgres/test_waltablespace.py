"""Records that make tablespaces are found wherever they lie, in whatever parts and order the WAL is given."""

from __future__ import annotations

import random
import struct
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.postgres.walwriting import HEAP, XLOG, WalWriter

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walpage import read_shape
from holdfast.postgres.waltablespace import MadeTablespace, TablespaceSearch

TABLESPACE = 5
DROP = 0x10
BLOCK = 8192
SEGMENT = 2**20


def make(writer: WalWriter, oid: int, location: str) -> MadeTablespace:
    """Write a record as ``create_tablespace_directories`` does."""
    record = writer.record(TABLESPACE, 0, 700, struct.pack("<I", oid) + location.encode() + b"\0")
    return MadeTablespace(Lsn(record.start), oid, location)


def parts_of(writer: WalWriter, size: int) -> list[tuple[bytes, Lsn]]:
    """Return all segments in parts of a number of pages."""
    return [
        (writer.segment(number)[at : at + size], writer.start_of(number) + at)
        for number in writer.segments
        for at in range(0, SEGMENT, size)
    ]


def look_everywhere(writer: WalWriter, parts: list[tuple[bytes, Lsn]]) -> list[MadeTablespace]:
    search, shape = TablespaceSearch(), read_shape(writer.segment(writer.first_segment))
    found = [made for content, start in parts for made in search.look(shape, content, start)]
    return sorted(found, key=lambda made: made.lsn)


def fill_up_to(writer: WalWriter, before_the_end: int) -> None:
    """Write until so many bytes are left in the segment."""
    while (left := SEGMENT - len(writer.content) % SEGMENT - before_the_end) > 2 * BLOCK:
        writer.record(HEAP, 0, 0, bytes(min(left - BLOCK, 60_000)))
    left = SEGMENT - len(writer.content) % SEGMENT - before_the_end
    headers = 24 if left > BLOCK - before_the_end % BLOCK else 0
    writer.record(HEAP, 0, 0, bytes(left - headers - 24 - 5))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 150).map(lambda words: words * 8),
    st.integers(1, 1000),
    st.sampled_from([BLOCK, 16 * BLOCK, SEGMENT]),
    st.randoms(use_true_random=False),
)
def test_a_record_that_goes_on_in_the_next_segment_is_found(left, length, size, rng):
    writer = WalWriter(segment_size=SEGMENT)
    expected = [make(writer, 1, "/first")]
    fill_up_to(writer, left)
    expected.append(make(writer, 2, "/" + "x" * length))
    writer.fill(3, 50_000)
    expected.append(make(writer, 3, ""))
    writer.record(TABLESPACE, DROP, 700, struct.pack("<I", 3))
    parts = parts_of(writer, size)
    rng.shuffle(parts)
    assert look_everywhere(writer, parts) == expected


def test_the_filler_reaches_the_end_of_a_segment_to_the_byte():
    crossing = 0
    for left in range(8, 1000, 88):
        writer = WalWriter(segment_size=SEGMENT)
        fill_up_to(writer, left)
        record = writer.record(TABLESPACE, 0, 700, bytes(1000))
        crossing += record.start == 2 * SEGMENT - left and record.end > 2 * SEGMENT
    assert crossing == 12


def test_what_only_looks_like_such_a_record_is_none():
    writer = WalWriter(segment_size=SEGMENT)
    seeds = random.Random(5)
    looks = struct.pack("<IIQBBHI", 60, 700, 0, 0, TABLESPACE, 0, seeds.getrandbits(32)) + bytes(36)
    for _ in range(200):
        writer.record(XLOG, 0xB0, 0, looks * 13)
    fill_up_to(writer, 64)
    writer.record(HEAP, 0, 0, looks * 20)
    assert look_everywhere(writer, parts_of(writer, SEGMENT)) == []


def test_several_threads_may_look_at_once():
    writer = WalWriter(segment_size=SEGMENT)
    expected = []
    for oid in range(6):
        fill_up_to(writer, 8 + 8 * oid)
        expected.append(make(writer, oid, "/somewhere/" + "y" * 300))
    parts = parts_of(writer, 4 * BLOCK)
    search, shape = TablespaceSearch(), read_shape(writer.segment(1))
    found: list[MadeTablespace] = []

    def look(mine: list[tuple[bytes, Lsn]]) -> None:
        for content, start in mine:
            found.extend(search.look(shape, content, start))

    threads = [threading.Thread(target=look, args=(parts[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(found), key=lambda made: made.lsn) == expected
