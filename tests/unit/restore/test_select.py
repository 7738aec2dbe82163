"""The choice of the snapshot, in made-up archives: the newest that ends before the target, on its history only."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wal.worlds import BEGAN, Archive, history_of, worlds

from holdfast.errors import TargetNotReachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.restore.select import Choice, Position, choose, target_timelines
from holdfast.restore.target import (
    ImmediateGoal,
    LatestGoal,
    LsnGoal,
    RecoveryTarget,
    TimeGoal,
    TimelineRule,
    XidGoal,
)
from holdfast.wal.coverage import survey


def chosen(archive, target, points, position=None) -> Choice:
    return choose(survey(archive, points, archive.segment_size), target, position, points)


@settings(max_examples=200)
@given(worlds(), st.data())
def test_an_lsn_is_recovered_to_from_the_newest_snapshot_before_it(world, data):
    timeline = data.draw(st.sampled_from(sorted(world.past)))
    lsn = Lsn(data.draw(st.integers(0, 14 * world.archive.segment_size)))
    target = RecoveryTarget(LsnGoal(lsn), timeline=Timeline(timeline))
    coverage = survey(world.archive, world.points, world.archive.segment_size)
    history = coverage.lineage.history(Timeline(timeline))
    able = [p for p in world.points if history.has_point(p.timeline, p.stop) and p.stop <= lsn]
    try:
        choice = choose(coverage, target, None, world.points)
    except TargetNotReachableError as error:
        assert error.hint  # noqa: PT017 - either outcome may be right; which one is, is asserted below
        usable = [window for window in coverage.windows if window.timeline == timeline and window.holds(lsn)]
        assert not usable or not able
        return
    assert choice.point.stop == max(point.stop for point in able)
    assert choice.history.timeline == timeline
    assert choice.proof.end > lsn or lsn == choice.point.stop


def split() -> tuple[Archive, list]:
    """Timeline 1 was left at 4.25 for timeline 2, went on, and was left once more at 6.5 for timeline 3."""
    archive = Archive()
    archive.add_segments(1, 2, 3, 4, 5, 6, 7, 8)
    archive.add_segments(2, 4, 5, 6, 7)
    archive.add_segments(3, 6, 7)
    archive.add_history(history_of((1, archive.at(4.25)), (2, None)))
    archive.add_history(history_of((1, archive.at(6.5)), (3, None)))
    points = [
        archive.point(1, 2, 2.5, stop_time=BEGAN),
        archive.point(2, 5, 5.5, stop_time=BEGAN + timedelta(hours=1)),
        archive.point(1, 7, 7.5, stop_time=BEGAN + timedelta(hours=2)),
    ]
    return archive, points


@pytest.mark.parametrize(
    ("timeline", "lsn", "number"),
    [
        (TimelineRule.LATEST, 7.0, 0),  # on 3: the snapshots on 2, and on 1 after the split, are of other pasts
        (Timeline(2), 7.0, 1),
        (Timeline(2), 5.0, 0),
        (Timeline(1), 8.0, 2),
        (Timeline(1), 7.25, 0),
        (TimelineRule.CURRENT, 8.5, 2),
        (TimelineRule.CURRENT, 7.25, 1),
        (TimelineRule.CURRENT, 3.0, 0),
    ],
)
def test_fault_12_only_snapshots_of_the_targets_own_past_serve(timeline, lsn, number):
    archive, points = split()
    target = RecoveryTarget(LsnGoal(archive.at(lsn)), timeline=timeline)
    assert chosen(archive, target, points).point == points[number]


def test_a_time_is_compared_with_the_servers_clock_at_the_end_of_the_snapshot():
    archive, points = split()
    target = RecoveryTarget(TimeGoal(BEGAN + timedelta(hours=1)), timeline=Timeline(2))
    assert chosen(archive, target, points).point == points[1]
    earlier = RecoveryTarget(TimeGoal(BEGAN + timedelta(minutes=59)), timeline=Timeline(2))
    assert chosen(archive, earlier, points).point == points[0]


def test_a_snapshot_after_the_record_that_recovery_stops_at_does_not_serve_whatever_the_clock_said():
    archive, points = split()
    target = RecoveryTarget(TimeGoal(BEGAN + timedelta(hours=1)), timeline=Timeline(2))
    stop = Position(archive.at(5.2), archive.at(5.25))
    assert chosen(archive, target, points, stop).point == points[0]


def test_fault_13_before_the_end_of_the_oldest_snapshot_there_is_a_window_and_no_choice():
    archive, points = split()
    for goal, position in (
        (LsnGoal(archive.at(2.25)), None),
        (XidGoal(700), Position(archive.at(2.25), archive.at(2.26))),
        (TimeGoal(BEGAN - timedelta(seconds=1)), None),
    ):
        with pytest.raises(TargetNotReachableError, match="before the end of the oldest snapshot") as caught:
            chosen(archive, RecoveryTarget(goal, timeline=Timeline(1)), points, position)
        assert "timeline 1 from 0/280000" in " ".join(caught.value.details)


def test_beyond_the_wal_the_target_is_named_as_what_it_is():
    archive, points = split()
    at = BEGAN + timedelta(hours=1)
    position = Position(archive.at(8.9), archive.at(9.25))
    for goal, found in ((TimeGoal(at), position), (XidGoal(700), position), (LsnGoal(archive.at(9.25)), None)):
        with pytest.raises(TargetNotReachableError, match="WAL of the archive ends at 0/900000, before 0/9") as caught:
            chosen(archive, RecoveryTarget(goal, timeline=Timeline(1)), points, found)
        assert caught.value.message.startswith(f"{goal} is not reachable: from snapshot ")
        assert "timeline 1 from 0/280000" in " ".join(caught.value.details)


def test_the_end_of_a_snapshot_needs_no_wal_and_stays_on_its_timeline():
    archive, points = split()
    choice = chosen(archive, RecoveryTarget(ImmediateGoal()), points)
    assert (choice.point, choice.history.timeline, choice.proof.segments) == (points[2], 1, 0)


def test_the_way_through_the_timelines_is_told_from_the_snapshot_on():
    archive, points = split()
    target = RecoveryTarget(LatestGoal(), timeline=Timeline(3))
    choice = chosen(archive, target, points)
    assert [(entry.timeline, entry.end) for entry in choice.way()] == [(1, archive.at(6.5)), (3, None)]


def test_unknown_timelines_and_those_without_a_past_are_refused():
    archive, points = split()
    coverage = survey(archive, points, archive.segment_size)
    with pytest.raises(TargetNotReachableError, match="no timeline 7") as caught:
        target_timelines(coverage, RecoveryTarget(LatestGoal(), timeline=Timeline(7)), points)
    assert caught.value.hint == "there are: 1, 2, 3"
    archive.add_segments(9, 9)
    coverage = survey(archive, points, archive.segment_size)
    with pytest.raises(TargetNotReachableError, match="lacks the history of timeline 9") as caught:
        target_timelines(coverage, RecoveryTarget(LatestGoal(), timeline=Timeline(9)), points)
    assert "00000009.history" in caught.value.hint


def test_no_snapshot_in_the_past_of_the_latest_timeline_is_said_with_the_way_out():
    archive, points = split()
    with pytest.raises(TargetNotReachableError, match="no snapshot lies in the past of timeline 3") as caught:
        chosen(archive, RecoveryTarget(LatestGoal()), points[1:])
    assert "--timeline 2" in caught.value.hint
