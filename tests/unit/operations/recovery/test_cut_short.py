"""What is said of a recovery to the latest which a gap ends, in made-up archives."""

import pytest
from tests.unit.wal.worlds import Archive, history_of

from holdfast.operations.recovery.cut_short import tell_of_gap
from holdfast.progress import Silence
from holdfast.restore.select import choose
from holdfast.restore.target import ImmediateGoal, LatestGoal, RecoveryTarget
from holdfast.wal.coverage import survey


class Listener(Silence):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def told(archive: Archive, goal) -> list[str]:
    points, target, listener = [archive.point(1, 2, 2.5)], RecoveryTarget(goal), Listener()
    coverage = survey(archive, points, archive.segment_size)
    tell_of_gap(coverage, target, choose(coverage, target, None, points), listener)
    return listener.warnings


@pytest.fixture
def archive():
    archive = Archive()
    archive.add_segments(1, 2, 3, 4)
    return archive


def test_without_a_gap_nothing_is_said(archive):
    assert told(archive, LatestGoal()) == []


def test_fault_06_a_gap_that_ends_recovery_is_told_to_who_wants_the_latest(archive):
    archive.add_segments(1, 6)
    (words,) = told(archive, LatestGoal())
    assert "1 WAL segment missing: 000000010000000000000005" in words
    assert f"ends at {archive.at(5)}" in words
    assert told(archive, ImmediateGoal()) == []


def test_a_gap_of_a_past_that_is_not_followed_is_not_told(archive):
    archive.add_segments(1, 8)
    archive.add_segments(2, 4, 5)
    archive.add_history(history_of((1, archive.at(4.5)), (2, None)))
    assert told(archive, LatestGoal()) == []


def test_a_gap_before_the_change_of_timelines_is_told(archive):
    archive.add_segments(2, 6, 7)
    archive.add_history(history_of((1, archive.at(6.5)), (2, None)))
    (words,) = told(archive, LatestGoal())
    assert "1 WAL segment missing: 000000010000000000000005" in words
