"""The chain of records: all of them are found, none too many, whatever lies on the boundaries and behind the end."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.postgres.walwriting import ABORT, HEAP, STANDBY, SWITCH, XACT, XLOG, WalWriter

from holdfast.errors import VerificationError
from holdfast.postgres import walchain
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walchain import RecordChain
from holdfast.postgres.walmarks import marks, running
from holdfast.postgres.walpage import read_shape
from holdfast.postgres.walxact import transaction_ends

LENGTHS = st.one_of(st.integers(1, 300), st.integers(8000, 8300), st.integers(16_200, 16_500), st.integers(1, 70_000))


def follow(writer: WalWriter, contents: dict[int, bytes] | None = None) -> tuple[list[tuple[int, ...]], RecordChain]:
    """Return (start, end, rmid, info, xid, length) of each record that the reader finds, and the chain."""
    contents = contents or {number: writer.segment(number) for number in writer.segments}
    chain = RecordChain(read_shape(writer.segment(writer.first_segment)))
    found = []
    for number, content in contents.items():
        for records in chain.follow(content, writer.start_of(number)):
            columns = (records.starts, records.ends, records.rmids, records.infos, records.xids, records.lengths)
            found += list(zip(*(column.tolist() for column in columns), strict=True))
            list(marks(records)), list(running(records)), transaction_ends(records)
        if chain.has_ended:
            break
    return found, chain


def written(writer: WalWriter) -> list[tuple[int, ...]]:
    """Return the same of what was written."""
    return [(each.start, each.end, each.rmid, each.info, each.xid, each.length) for each in writer.records]


@given(st.lists(LENGTHS, min_size=1, max_size=60), st.sampled_from([4096, 8192, 32768]))
def test_every_record_is_found_again(lengths, block_size):
    writer = WalWriter(block_size=block_size)
    for xid, length in enumerate(lengths):
        writer.record(HEAP, 0, xid, bytes(length))
    found, chain = follow(writer)
    assert found == written(writer)
    assert chain.end == writer.records[-1].end


@pytest.mark.parametrize("window", [8192, 65536, 2**20])
def test_records_go_on_over_pages_windows_and_segments(window, monkeypatch):
    monkeypatch.setattr(walchain, "_WINDOW_BYTES", window)
    writer = WalWriter()
    for xid in range(60):
        writer.record(HEAP, 0, xid, bytes(xid * 1009))
        writer.end_transaction(xid + 3, xid)
    writer.record(HEAP, 0, 9, bytes(3 * 2**20))
    writer.end_transaction(99, 99)
    assert len(writer.segments) > 4
    assert follow(writer)[0] == written(writer)


@given(st.integers(0, 400))
def test_a_record_may_end_anywhere_about_the_end_of_a_page(filler):
    writer = WalWriter()
    writer.record(HEAP, 0, 1, bytes(7900 + filler))
    writer.end_transaction(7, 1)
    writer.end_transaction(8, 1)
    assert follow(writer)[0] == written(writer)


def test_a_chain_may_begin_in_the_middle():
    writer = WalWriter()
    writer.fill(10, 50_000)
    writer.record(HEAP, 0, 0, bytes(2**21 + 2**19))
    writer.end_transaction(7, 1)
    writer.fill_segment()
    for first in writer.segments[1:]:
        contents = {number: writer.segment(number) for number in writer.segments if number >= first}
        expected = [each for each in written(writer) if each[0] >= first * writer.segment_size]
        assert follow(writer, contents)[0] == expected


def test_the_rest_of_a_segment_after_a_switch_is_passed_over():
    writer = WalWriter()
    writer.end_transaction(7, 1)
    writer.record(XLOG, SWITCH)
    writer.end_transaction(8, 2)
    found, chain = follow(writer)
    assert found == written(writer)
    assert chain.end == writer.records[-1].end > 2 * writer.segment_size


def test_what_was_there_before_is_not_taken_for_wal():
    writer = WalWriter()
    for xid in range(3, 3000):
        writer.end_transaction(xid, xid)
    old = writer.segment(1)
    stop = writer.records[500].start - writer.origin
    new = old[:stop] + old[stop + 4096 :] + old[:4096]  # a recycled file: later pages and records of another place
    found, chain = follow(writer, {1: new})
    assert chain.has_ended
    assert found == [each for each in written(writer) if each[1] - writer.origin <= stop]


def test_a_record_that_was_given_up_after_a_crash_is_passed_over():
    writer = WalWriter()
    writer.end_transaction(7, 1)
    lost = writer.record(HEAP, 0, 8, bytes(40_000))
    page = -(-(lost.start + 1 - writer.origin) // 8192) + 1  # the second page that it would have gone on in
    del writer.content[page * 8192 :]
    writer.records.pop()
    writer._page(0, 8)
    writer.record(XLOG, 0xD0, 0, bytes(16))
    writer.end_transaction(9, 2)
    assert follow(writer)[0] == written(writer)


def test_a_lost_continuation_without_that_flag_ends_the_wal():
    writer = WalWriter()
    writer.end_transaction(7, 1)
    lost = writer.record(HEAP, 0, 8, bytes(40_000))
    page = -(-(lost.start + 1 - writer.origin) // 8192) + 1
    del writer.content[page * 8192 :]
    writer.records.pop()
    before = written(writer)
    writer._page(0, 0)
    writer.end_transaction(9, 2)
    found, chain = follow(writer)
    assert (found, chain.has_ended) == (before, True)


@pytest.mark.parametrize("offset", [4, 20, 26, 33])
def test_a_damaged_commit_inside_of_the_wal_is_an_error(offset):
    writer = WalWriter()
    for xid in range(3, 40):
        writer.end_transaction(xid, xid)
    content = bytearray(writer.segment(1))
    damaged = writer.records[20]
    content[damaged.start - writer.origin + offset] ^= 0x02
    with pytest.raises(VerificationError, match=f"at {Lsn(damaged.start)} is damaged"):
        follow(writer, {1: bytes(content)})


def test_the_wal_ends_where_a_record_names_another_one_as_the_one_before():
    writer = WalWriter()
    for xid in range(3, 40):
        writer.end_transaction(xid, xid)
    content = bytearray(writer.segment(1))
    content[writer.records[20].start - writer.origin + 9] ^= 0x02
    found, chain = follow(writer, {1: bytes(content)})
    assert (found, chain.has_ended) == (written(writer)[:20], True)


def test_a_torn_commit_at_the_end_is_not_reported():
    writer = WalWriter()
    writer.end_transaction(7, 1)
    last = writer.end_transaction(8, 2)
    content = bytearray(writer.segment(1))
    content[last.start - writer.origin + 28] ^= 0xFF
    found, chain = follow(writer, {1: bytes(content)})
    assert (found, chain.has_ended) == (written(writer)[:1], True)


def test_pages_of_another_cluster_or_version_are_not_followed():
    writer, other = WalWriter(), WalWriter(major=17)
    for each in (writer, other):
        each.fill_segment()
        each.end_transaction(9, 1)
    found, chain = follow(writer, {1: writer.segment(1), 2: other.segment(2)})
    assert chain.has_ended
    assert {each[2] for each in found} == {HEAP}


def mixed_wal() -> WalWriter:
    """Return WAL with something of everything."""
    writer = WalWriter()
    for xid in range(3, 40):
        writer.record(HEAP, 0, xid, bytes(xid * 100))
        writer.end_transaction(xid, xid, ABORT if xid % 7 == 0 else 0, (xid + 100, xid + 200) if xid % 5 == 0 else ())
        if xid % 10 == 0:
            writer.restore_point(f"point {xid}", xid)
            writer.running(xid, xid + 1)
    return writer


MIXED = mixed_wal()
MIXED_BYTES = len(MIXED.content)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, MIXED_BYTES - 1), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6),
    st.integers(0, 2**20),
)
def test_mutated_wal_ends_or_is_refused(changes, length):
    content = bytearray(MIXED.segment(1))
    for offset, change in changes:
        content[offset : offset + len(change)] = change
    try:
        found, _ = follow(MIXED, {1: bytes(content[:length])})
    except VerificationError:
        return
    truth = {each[0]: each for each in written(MIXED)}
    reported = [each for each in found if each[2] in {XACT, XLOG, STANDBY}]
    assert all(truth.get(each[0]) == each for each in reported if each[2] == XACT)


@given(st.binary(min_size=1, max_size=80))
def test_a_record_with_the_right_crc_and_any_content_is_read_or_refused(main):
    writer = WalWriter(major=18)
    for rmid, info in ((XACT, 0x00), (XACT, 0x80), (XACT, 0xB0), (XACT, 0xC0), (XLOG, 0x70), (XLOG, 0x10), (8, 0x10)):
        writer.records.clear()
        writer.content.clear()
        writer._page(0, 0)
        writer.record(rmid, info, 7, main)
        with contextlib.suppress(VerificationError):
            follow(writer)


@given(st.binary(max_size=300))
def test_what_is_no_segment_is_refused(content):
    with pytest.raises(VerificationError):
        read_shape(content)


def test_a_segment_of_an_unknown_version_is_refused():
    content = bytearray(WalWriter().segment(1))
    content[:2] = struct.pack("<H", 0xD099)
    with pytest.raises(VerificationError, match="no version that is supported"):
        read_shape(content)


def test_offsets_are_columns_of_numbers():
    (records,) = RecordChain(read_shape(MIXED.segment(1))).follow(MIXED.segment(1), MIXED.start_of(1))
    assert (records.have_right_crc() == (records.rmids != HEAP)).all()
    assert records.previous.tolist() == [0, *records.starts[:-1].tolist()]
    assert isinstance(records.starts, np.ndarray)
