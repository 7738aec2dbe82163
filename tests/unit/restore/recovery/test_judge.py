"""The judgement: only what the server says and what was asked for, agreeing in every point, is success."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import TargetNotReachableError, VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline, first_history
from holdfast.restore.recovery.judge import Expected, require_reached
from holdfast.restore.recovery.reached import Reached
from holdfast.restore.select import Choice, Position
from holdfast.restore.target import (
    ImmediateGoal,
    LatestGoal,
    LsnGoal,
    NameGoal,
    RecoveryTarget,
    TimeGoal,
    XidGoal,
)
from holdfast.wal.proof import Proof
from holdfast.wal.reach import SnapshotPoint

AT = datetime(2026, 11, 20, 14, 3, tzinfo=UTC)
HERE = Position(Lsn(0x3000100), Lsn(0x3000148))
POINT = SnapshotPoint("ab" * 16, Timeline(1), Lsn(0x2000028), Lsn(0x2000100))
CHOICE = Choice(POINT, first_history(), Proof((), Lsn(0x5000000)), 2**24)
AFTER = Reached(HERE.end, Timeline(1), AT)
BEFORE = Reached(HERE.start, Timeline(1), AT)
SECOND = timedelta(seconds=1)


def expected(goal, position=None, *, latest_told=None, is_inclusive=True):
    return Expected(RecoveryTarget(goal, is_inclusive=is_inclusive), CHOICE, position, latest_told)


RIGHT = [
    (expected(XidGoal(741), HERE), replace(AFTER, stopped="recovery stopping after commit of transaction 741, time x")),
    (
        expected(XidGoal(2**32 + 741), HERE, is_inclusive=False),
        replace(BEFORE, stopped="recovery stopping before commit of transaction 741, time x"),
    ),
    (
        expected(XidGoal(741), HERE),
        replace(AFTER, stopped="recovery stopping after commit of prepared transaction 741, time x"),
    ),
    (
        expected(LsnGoal(Lsn(0x3000101))),
        replace(AFTER, stopped='recovery stopping after WAL location (LSN) "0/3000120"'),
    ),
    (
        expected(LsnGoal(Lsn(0x3000101)), is_inclusive=False),
        replace(AFTER, stopped='recovery stopping before WAL location (LSN) "0/3000148"'),
    ),
    (expected(TimeGoal(AT)), replace(BEFORE, stopped="recovery stopping before commit of transaction 9, time x")),
    (expected(TimeGoal(AT)), replace(BEFORE, stopped="recovery stopping before abort of transaction 9, time x")),
    (
        expected(TimeGoal(AT)),
        replace(BEFORE, last_commit=None, stopped="recovery stopping before commit of transaction 9, time x"),
    ),
    (expected(NameGoal('a "b"'), HERE), replace(AFTER, stopped='recovery stopping at restore point "a "b"", time x')),
    (expected(ImmediateGoal()), replace(AFTER, stopped="recovery stopping after reaching consistency")),
    (expected(LatestGoal()), replace(AFTER, lsn=Lsn(0x4FFFFF0))),
    (expected(TimeGoal(AT), latest_told=AT + SECOND), replace(AFTER, lsn=Lsn(0x4FFFFF0))),
    (expected(LsnGoal(HERE.end), is_inclusive=False), AFTER),
]
CONTRADICTIONS = [
    (expected(XidGoal(741), HERE), replace(AFTER, stopped="recovery stopping after commit of transaction 742, time x")),
    (
        expected(XidGoal(741), HERE),
        replace(AFTER, stopped="recovery stopping before commit of transaction 741, time x"),
    ),
    (
        expected(XidGoal(741), HERE),
        replace(BEFORE, stopped="recovery stopping after commit of transaction 741, time x"),
    ),
    (
        expected(XidGoal(741), HERE, is_inclusive=False),
        replace(AFTER, stopped="recovery stopping before commit of transaction 741, time x"),
    ),
    (
        expected(LsnGoal(Lsn(0x3000101))),
        replace(AFTER, stopped='recovery stopping after WAL location (LSN) "0/3000100"'),
    ),
    (
        expected(TimeGoal(AT)),
        replace(BEFORE, last_commit=AT + SECOND, stopped="recovery stopping before commit of transaction 9, time x"),
    ),
    (
        expected(TimeGoal(AT), is_inclusive=False),
        replace(BEFORE, stopped="recovery stopping before commit of transaction 9, time x"),
    ),
    (expected(NameGoal("a"), HERE), replace(AFTER, stopped='recovery stopping at restore point "b", time x')),
    (expected(LatestGoal()), replace(AFTER, stopped="recovery stopping after reaching consistency")),
    (expected(LatestGoal()), replace(AFTER, lsn=Lsn(0x4FFFFF0), timeline=Timeline(2))),
]
NOT_REACHED = [
    (expected(XidGoal(741), HERE), BEFORE),
    (expected(NameGoal("a"), HERE), BEFORE),
    (expected(LsnGoal(HERE.end)), AFTER),
    (expected(LsnGoal(Lsn(HERE.end + 1)), is_inclusive=False), AFTER),
    (expected(TimeGoal(AT)), replace(AFTER, lsn=Lsn(0x4FFFFF0))),
    (expected(TimeGoal(AT), latest_told=AT), replace(AFTER, lsn=Lsn(0x4FFFFF0))),
    (expected(TimeGoal(AT), latest_told=AT + SECOND), AFTER),
    (expected(LatestGoal()), AFTER),
    (expected(LatestGoal()), replace(AFTER, last_commit=None)),
    (expected(ImmediateGoal()), AFTER),
]


@pytest.mark.parametrize(("wanted", "reached"), RIGHT)
def test_what_agrees_in_every_point_is_reached(wanted, reached):
    require_reached(wanted, reached)


@pytest.mark.parametrize(("wanted", "reached"), CONTRADICTIONS)
def test_fault_15_what_contradicts_the_target_is_never_success(wanted, reached):
    with pytest.raises(VerificationError):
        require_reached(wanted, reached)


@pytest.mark.parametrize(("wanted", "reached"), NOT_REACHED)
def test_fault_14_and_34_what_was_not_reached_is_exit_13_with_how_far_it_came(wanted, reached):
    with pytest.raises(TargetNotReachableError, match=f"it came to {reached.lsn} on timeline 1") as caught:
        require_reached(wanted, reached)
    assert caught.value.exit_code == 13
    assert "0/5000000" in caught.value.hint
