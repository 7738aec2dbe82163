"""Windows, gaps and proofs of made-up archives: by hand where a fault is named, and against a slow, simple reader."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wal.worlds import BEGAN, QUARTERS, Archive, World, history_of, worlds

from holdfast.errors import KeyRefusedError, TargetNotReachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import parse_segment_name
from holdfast.postgres.timeline import Timeline, TimelineHistory
from holdfast.wal.coverage import Coverage, survey
from holdfast.wal.names import ArchivedFile, WalFileKind, conflict_name, gap_name

MIB = 1 << 20


def look(archive: Archive, *points) -> Coverage:
    return survey(archive, points, archive.segment_size)


def spans(coverage: Coverage, timeline: int) -> list[tuple[float, float]]:
    """Return the windows of a timeline, in segments."""
    size = coverage.segment_size
    return [(each.start / size, each.end / size) for each in coverage.windows if each.timeline == timeline]


def holes(coverage: Coverage) -> list[tuple[int, int, int, bool]]:
    return [(each.timeline, each.first.number, each.last.number, each.splits) for each in coverage.gaps]


def simple_end(world: World, history: TimelineHistory, point) -> Lsn:
    """Walk segment by segment, quarter by quarter, and return where the WAL ends."""
    size = world.archive.segment_size
    end = point.stop
    number = point.stop // size
    while True:
        furthest = 0
        for entry in history.entries:
            if entry.begin // size <= number:
                quarters = world.held.get((entry.timeline, number), 0)
                if entry.timeline == point.timeline and number in point.carried(size):
                    quarters = QUARTERS
                stops = [number * size + quarters * size // QUARTERS, *([entry.end] if entry.end is not None else [])]
                furthest = max(furthest, min(stops) if quarters else 0)
        end = Lsn(max(end, furthest))
        if furthest < (number + 1) * size:
            return end
        number += 1


@settings(max_examples=300)
@given(worlds())
def test_windows_are_what_a_simple_reader_reaches(world):
    coverage = look(world.archive, *world.points)
    for timeline, history in world.past.items():
        begin = history.entries[-1].begin
        expected = set()
        for point in world.points:
            if history.has_point(point.timeline, point.stop):
                end = simple_end(world, history, point)
                if point.timeline == timeline or end > begin:
                    expected |= set(range(point.stop, end + 1, world.archive.segment_size // QUARTERS))
        quarter = world.archive.segment_size // QUARTERS
        found = {at for w in coverage.windows if w.timeline == timeline for at in range(w.start, w.end + 1, quarter)}
        assert found == expected


@settings(max_examples=300)
@given(worlds(), st.data())
def test_a_proof_names_files_that_hold_every_byte_up_to_the_target(world, data):
    size = world.archive.segment_size
    coverage = look(world.archive, *world.points)
    for point in world.points:
        timeline = data.draw(st.sampled_from(sorted(world.past)))
        target = Lsn(data.draw(st.integers(0, 14 * QUARTERS)) * (size // QUARTERS))
        history = world.past[timeline]
        reaches = history.has_point(point.timeline, point.stop) and (
            point.stop == target or point.stop <= target < simple_end(world, history, point)
        )
        if not reaches:
            with pytest.raises(TargetNotReachableError):
                coverage.prove(point, target, Timeline(timeline))
            continue
        proof = coverage.prove(point, target, Timeline(timeline))
        names = list(proof.files())
        assert set(names) <= set(world.archive.files)
        assert proof.stored_bytes == sum(world.archive.files[name].size_bytes for name in names)
        segments = [parse_segment_name(name[:24], size) for name in names]
        assert proof.segments == len(segments)
        numbers = [segment.number for segment in segments]
        assert numbers == sorted(set(numbers))
        wanted = set(range(point.stop // size, target // size + 1)) if target > point.stop else set()
        carried = set(point.carried(size))
        assert wanted - carried <= set(numbers) <= set(range(point.stop // size, target // size + 1))
        for segment in segments:
            assert segment.timeline in {entry.timeline for entry in history.entries}


@settings(max_examples=200)
@given(worlds())
def test_every_gap_is_of_absent_segments_and_stands_where_a_window_ends(world):
    size = world.archive.segment_size
    coverage = look(world.archive, *world.points)
    for gap in coverage.gaps:
        missing = range(gap.first.number, gap.last.number + 1)
        assert all(world.held.get((gap.timeline, number), 0) < QUARTERS for number in missing)
        assert (gap.timeline, gap.first.number - 1) not in world.held or world.held[
            gap.timeline, gap.first.number - 1
        ] == QUARTERS
    absent = {(gap.timeline, n) for gap in coverage.gaps for n in range(gap.first.number, gap.last.number + 1)}
    for timeline in world.past:
        own = sorted(n for (t, n), quarters in world.held.items() if t == timeline)
        inside = set(range(own[0], own[-1])) if own else set()
        assert {n for n in inside if world.held.get((timeline, n), 0) < QUARTERS} <= {
            n for t, n in absent if t == timeline
        }
    assert all(gap.segments * size == gap.end - gap.start for gap in coverage.gaps)


@given(st.integers(1, 2**32 - 1), st.integers(20, 30), st.integers(1, 2**31))
def test_fault_11_every_timeline_and_segment_size_is_read_as_hexadecimal(timeline, size_bits, number):
    number %= 2 ** (64 - size_bits) - 3
    archive = Archive(1 << size_bits)
    archive.add_segments(timeline, number + 1, number + 2)
    coverage = look(archive)
    (held,) = (held for held in coverage.holdings.values() if held.count)
    assert held.timeline == timeline
    assert list(held.runs) == [(number + 1, number + 2)]


def test_fault_06_an_archive_command_that_did_nothing_splits_the_window():
    archive = Archive()
    archive.add_segments(1, 2, 3, 4, 9, 10, 11, 12)
    early, late = archive.point(1, 2, 2.5), archive.point(1, 10, 10.5)
    coverage = look(archive, early, late)
    assert spans(coverage, 1) == [(2.5, 5), (10.5, 13)]
    assert holes(coverage) == [(1, 5, 8, True)]
    (gap,) = coverage.gaps
    assert gap.seen == archive.stored(archive.name(1, 9))
    assert (gap.start, gap.end, gap.segments) == (archive.at(5), archive.at(9), 4)


def test_a_gap_before_the_oldest_snapshot_splits_nothing():
    archive = Archive()
    archive.add_segments(1, 2, 5, 6, 7)
    assert holes(look(archive, archive.point(1, 5, 5.5))) == [(1, 3, 4, False)]
    assert holes(look(archive)) == [(1, 3, 4, False)]


def test_a_snapshot_of_before_archiving_was_set_up_misses_nothing():
    archive = Archive()
    archive.add_segments(1, 5, 6)
    began = archive.stored(archive.name(1, 5))
    before, after = (
        archive.point(1, 2, 2.5, expects_archive=False, stop_time=began + timedelta(seconds=seconds))
        for seconds in (-1, 1)
    )
    coverage = look(archive, before)
    assert spans(coverage, 1) == [(2.5, 3)]
    assert holes(coverage) == []
    # a receiver had begun by then, or archive_command was a no-op for an hour
    assert holes(look(archive, after)) == [(1, 3, 4, True)]
    assert holes(look(archive, archive.point(1, 2, 2.5))) == [(1, 3, 4, True)]


def test_wal_that_the_snapshot_carries_counts_as_present():
    archive = Archive()
    archive.add_segments(1, 5, 6)
    primary = archive.point(1, 3.2, 4.5)
    assert spans(look(archive, primary), 1) == [(4.5, 7)]
    assert holes(look(archive, primary)) == []
    standby = archive.point(1, 3.2, 4.5, carries_last_segment=False)
    assert spans(look(archive, standby), 1) == [(4.5, 4.5)]
    assert holes(look(archive, standby)) == [(1, 4, 4, True)]


def test_fault_12_of_a_segment_on_two_timelines_only_the_one_of_the_history_counts():
    """Both went on after a split; segment 4 of timeline 1 holds another past than that of timeline 2."""
    archive = Archive()
    archive.add_segments(1, 2, 3, 4, 5, 6, 7, 8)
    archive.add_segments(2, 4, 5)
    archive.add_history(history_of((1, archive.at(4.25)), (2, None)))
    point = archive.point(1, 2, 2.5)
    coverage = look(archive, point)
    assert spans(coverage, 1) == [(2.5, 9)]
    assert spans(coverage, 2) == [(2.5, 6)]
    names = list(coverage.prove(point, archive.at(5.5), Timeline(2)).files())
    assert names == [archive.name(1, 3), archive.name(2, 4), archive.name(2, 5)]
    with pytest.raises(TargetNotReachableError) as caught:
        coverage.prove(point, archive.at(7), Timeline(2))
    assert caught.value.details
    assert "timeline 2 from 0/280000 to 0/600000" in caught.value.hint


def test_fault_12_a_sibling_branch_is_not_on_the_path():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 3, 4, 5, 6)
    archive.add_segments(3, 3)
    archive.add_history(history_of((1, archive.at(3.25)), (2, None)))
    archive.add_history(history_of((1, archive.at(3.5)), (3, None)))
    point = archive.point(1, 2, 2.5)
    coverage = look(archive, point)
    assert spans(coverage, 3) == [(2.5, 4)]
    with pytest.raises(TargetNotReachableError):
        coverage.prove(point, archive.at(4.5), Timeline(3))


def test_fault_30_the_tail_of_an_old_timeline_that_was_never_archived_is_a_gap():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 7, 8)
    archive.add_history(history_of((1, archive.at(7.25)), (2, None)))
    coverage = look(archive, archive.point(1, 2, 2.5))
    assert holes(coverage) == [(1, 4, 6, True)]
    assert coverage.gaps[0].seen == archive.stored(archive.name(2, 7))
    assert spans(coverage, 1) == [(2.5, 4)]
    assert spans(coverage, 2) == []


def test_the_first_segments_of_a_timeline_that_are_missing_are_a_gap():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 6)
    archive.add_history(history_of((1, archive.at(4.25)), (2, None)))
    coverage = look(archive, archive.point(1, 2, 2.5))
    assert holes(coverage) == [(2, 4, 5, True)]
    assert spans(coverage, 1) == [(2.5, 4)]


def test_pieces_extend_the_window_to_the_byte():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_piece(1, 4, 0, 5000)
    archive.add_piece(1, 4, 5000, 9001)
    archive.add_piece(1, 4, 10_000, 12_000)
    point = archive.point(1, 2, 2.5)
    coverage = look(archive, point)
    assert coverage.windows[0].end == archive.at(4) + 9001
    assert coverage.windows[0].end_time == archive.stored(f"{archive.name(1, 4)}.piece-00001388-00002329")
    assert holes(coverage) == []
    names = list(coverage.prove(point, archive.at(4) + 9000, Timeline(1)).files())
    assert [name[25:] for name in names[1:]] == ["piece-00000000-00001388", "piece-00001388-00002329"]
    with pytest.raises(TargetNotReachableError):
        coverage.prove(point, archive.at(4) + 9001, Timeline(1))


def test_a_segment_of_which_only_pieces_were_kept_is_a_gap_when_wal_follows_it():
    archive = Archive()
    archive.add_segments(1, 2, 4)
    archive.add_piece(1, 3, 0, 5000)
    coverage = look(archive, archive.point(1, 2, 2.5))
    assert holes(coverage) == [(1, 3, 3, True)]
    assert coverage.windows[0].end == archive.at(3) + 5000
    archive.add_piece(1, 3, 4000, MIB)
    assert spans(look(archive, archive.point(1, 2, 2.5)), 1) == [(2.5, 5)]
    assert holes(look(archive, archive.point(1, 2, 2.5))) == []


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=12))
def test_pieces_in_any_order_cover_their_segment_from_its_first_byte_on(ranges):
    archive = Archive()
    archive.add_segments(1, 2)
    for begin, length in ranges:
        archive.add_piece(1, 3, begin * 1000, (begin + length) * 1000)
    covered = 0
    while any(begin <= covered < begin + length for begin, length in ranges):
        covered += 1
    (window,) = look(archive, archive.point(1, 2, 2.5)).windows
    assert window.end == archive.at(3) + covered * 1000


def test_a_partial_segment_counts_for_the_timeline_that_ended_there():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add(archive.name(1, 4) + ".partial")
    point = archive.point(1, 2, 2.5)
    assert spans(look(archive, point), 1) == [(2.5, 4)]
    archive.add_history(history_of((1, archive.at(4.25)), (2, None)))
    coverage = look(archive, point)
    assert spans(coverage, 1) == [(2.5, 4.25)]
    assert spans(coverage, 2) == []
    archive.add_segments(2, 4)
    assert spans(look(archive, point), 2) == [(2.5, 5)]


def test_a_timeline_without_its_history_file_is_named_and_stands_alone():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 4, 5)
    coverage = look(archive, archive.point(1, 2, 2.5))
    assert coverage.missing_histories == (2,)
    assert spans(coverage, 2) == []
    assert spans(look(archive, archive.point(2, 4, 4.5)), 2) == [(4.5, 6)]


def test_a_missing_history_is_taken_from_a_descendant_and_still_named():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 3, 4)
    archive.add_segments(3, 4, 5)
    archive.add_history(history_of((1, archive.at(3.5)), (2, archive.at(4.5)), (3, None)))
    coverage = look(archive, archive.point(1, 2, 2.5))
    assert coverage.missing_histories == (2,)
    assert spans(coverage, 2) == [(2.5, 5)]
    assert spans(coverage, 3) == [(2.5, 6)]


class Closed(Archive):
    """An archive whose content a writer's key does not open."""

    def history(self, timeline):
        raise KeyRefusedError("a writer cannot read")


def test_a_writer_takes_histories_from_the_server():
    archive = Closed()
    archive.add_segments(1, 2, 3)
    archive.add_segments(2, 3, 4)
    history = history_of((1, archive.at(3.5)), (2, None))
    archive.add_history(history)
    point = archive.point(1, 2, 2.5)
    coverage = survey(archive, [point], archive.segment_size, {Timeline(2): history})
    assert (spans(coverage, 2), dict(coverage.unread)) == ([(2.5, 5)], {})
    coverage = survey(archive, [point], archive.segment_size)
    assert set(coverage.unread) == {2}
    assert (coverage.missing_histories, spans(coverage, 2)) == ((), [])


def test_fault_01_and_05_what_was_refused_or_given_up_is_kept_apart():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add(conflict_name(archive.name(1, 3), bytes(32)))
    archive.add(gap_name(archive.name(1, 4)))
    archive.add(archive.name(1, 2) + ".00000028.backup")
    archive.add("0000000100000000FFFFFFFF")
    coverage = look(archive)
    listing = coverage.listing
    assert [list(held.runs) for held in coverage.holdings.values()] == [[(2, 3)]]
    assert [file.name for file in listing.conflicts] == [archive.name(1, 3) + ".conflict-" + "0" * 16]
    assert [file.segment_name for file in listing.gap_records] == [archive.name(1, 4)]


class Long(Archive):
    """A hundred thousand segments, every thousandth of them missing."""

    def list(self):
        for number in range(1, 100_001):
            if number % 1000:
                yield ArchivedFile(self.name(1, number), WalFileKind.SEGMENT, 100, BEGAN)


def test_a_hundred_thousand_segments_take_a_second_and_few_megabytes():
    archive = Long(16 << 20)
    points = [archive.point(1, number + 0.2, number + 0.5) for number in range(5, 100_000, 200)]
    began = time.process_time()
    coverage = look(archive, *points)
    assert (len(coverage.gaps), len(coverage.windows)) == (99, 100)
    seconds = time.process_time() - began
    assert seconds < 5
    held = coverage.holdings[Timeline(1)]
    assert held.count == 99_900
    assert sum(map(sys.getsizeof, (held._numbers, held._stored_sums, held._archived))) < 4 << 20


def test_an_empty_archive_has_the_window_that_the_snapshot_brings():
    archive = Archive()
    coverage = look(archive, archive.point(1, 2.25, 2.5, stop_time=BEGAN))
    (window,) = coverage.windows
    assert (window.start, window.end, window.end_time) == (archive.at(2.5), archive.at(3), BEGAN)
    assert coverage.gaps == ()
    assert look(archive).windows == ()


def test_a_target_before_the_snapshots_end_is_refused_with_the_window():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    point = archive.point(1, 2, 2.5)
    with pytest.raises(TargetNotReachableError) as caught:
        look(archive, point).prove(point, archive.at(2.25), Timeline(1))
    assert "before the end of snapshot" in caught.value.message
    assert "0/280000 to 0/400000" in caught.value.hint


def test_a_snapshot_off_the_history_is_refused():
    archive = Archive()
    archive.add_segments(1, 2, 3, 4)
    archive.add_segments(2, 3)
    archive.add_history(history_of((1, archive.at(3.25)), (2, None)))
    point = archive.point(1, 3, 3.5)
    with pytest.raises(TargetNotReachableError, match="not in the past of timeline 2"):
        look(archive, point).prove(point, None, Timeline(2))
