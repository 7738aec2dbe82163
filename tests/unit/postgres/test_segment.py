"""WAL segment names and ranges, for all timelines (FAULTS 11) and all segment sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres import segment as wal
from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.timeline import MAX_TIMELINE, Timeline

MIB = 2**20
sizes = st.sampled_from([2**n for n in range(20, 31)])
timelines = st.integers(1, MAX_TIMELINE).map(Timeline)
positions = st.integers(0, 2**63).map(Lsn)


@given(timelines, positions, sizes)
def test_fault_11_names_read_back_on_every_timeline(timeline, lsn, size):
    segment = wal.segment_at(lsn, timeline, size)
    assert wal.is_segment_name(segment.name)
    assert wal.parse_segment_name(segment.name, size) == segment
    assert segment.start <= lsn < segment.stop


@given(timelines)
def test_fault_11_timeline_is_hexadecimal_in_names(timeline):
    assert wal.history_name(timeline) == f"{int(timeline):08X}.history"
    assert Timeline.parse_hex(wal.history_name(timeline)[:8]) == timeline


def test_known_names():
    assert wal.segment_at(Lsn.parse("0/16B3748"), Timeline(1), 16 * MIB).name == "000000010000000000000001"
    assert wal.segment_at(Lsn.parse("1/FF000000"), Timeline(10), 16 * MIB).name == "0000000A00000001000000FF"
    assert wal.segment_at(Lsn.parse("2/0"), Timeline(31), 64 * MIB).name == "0000001F0000000200000000"
    assert wal.segment_at(Lsn.parse("0/2000028"), Timeline(1), MIB).name == "000000010000000000000020"


@given(timelines, positions, sizes)
def test_names_order_as_segments_do(timeline, lsn, size):
    segment = wal.segment_at(lsn, timeline, size)
    assert segment.next().name > segment.name
    assert segment.next().start == segment.stop


def test_low_part_carries_into_the_high_part():
    last = wal.parse_segment_name("0000000100000000000000FF", 16 * MIB)
    assert last.next().name == "000000010000000100000000"


def test_exclusive_end_on_a_boundary_belongs_to_the_segment_before():
    boundary = Lsn.parse("0/3000000")
    assert wal.segment_at(boundary, Timeline(1), 16 * MIB).number == 3
    assert wal.segment_before(boundary, Timeline(1), 16 * MIB).number == 2
    assert wal.segment_before(boundary + 1, Timeline(1), 16 * MIB).number == 3


@given(timelines, st.integers(0, 2**50).map(Lsn), st.integers(0, 2**34), st.sampled_from([2**26, 2**28, 2**30]))
def test_range_covers_every_byte_and_nothing_beyond(timeline, start, length, size):
    stop = start + length
    segments = list(wal.segments_between(start, stop, timeline, size))
    assert segments[0].start <= start < segments[0].stop
    assert [s.number for s in segments] == list(range(segments[0].number, segments[-1].number + 1))
    if length:
        assert segments[-1].start < stop <= segments[-1].stop
    else:
        assert len(segments) == 1


def test_range_that_goes_back_is_refused():
    with pytest.raises(VerificationError, match="cannot end"):
        list(wal.segments_between(Lsn(2), Lsn(1), Timeline(1), 16 * MIB))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000001000000000000000",
        "0000000100000000000000001",
        "00000001000000000000000g",
        "0000000a0000000000000001",
        "000000000000000000000001",
        "000000010000000000000100",  # 16 MiB segments count to FF only
        "000000010000000000000001\n",
    ],
)
def test_what_is_no_segment_of_this_cluster_is_refused(name):
    with pytest.raises(VerificationError):
        wal.parse_segment_name(name, 16 * MIB)


@pytest.mark.parametrize("size", [0, 2**19, 2**31, 3 * MIB, -16 * MIB])
def test_impossible_segment_sizes_are_refused(size):
    with pytest.raises(VerificationError, match="segment size"):
        wal.segment_at(Lsn(0), Timeline(1), size)


@given(timelines, positions, sizes)
def test_each_kind_of_name_is_only_its_own_kind(timeline, lsn, size):
    segment = wal.segment_at(lsn, timeline, size)
    names = [segment.name, f"{segment.name}.00000028.backup", wal.history_name(timeline), wal.partial_name(segment)]
    kinds = [wal.is_segment_name, wal.is_backup_name, wal.is_history_name]
    assert [[kind(name) for kind in kinds] for name in names] == [[i == j for j in range(3)] for i in range(4)]


@pytest.mark.parametrize("size", [2**20, 2**24, 2**30])
def test_the_very_last_segment_ends_at_the_last_position(size):
    """Nothing fits behind it: whoever asked where it ends got an internal error."""
    segment = wal.segment_at(Lsn(MAX_LSN), Timeline(1), size)
    assert segment.stop == MAX_LSN
    assert wal.parse_segment_name(segment.name, size) == segment
