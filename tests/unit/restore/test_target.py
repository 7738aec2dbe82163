"""Recovery targets: each form is taken for what it is, and nothing is guessed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import TargetNotReachableError, UsageError
from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.restore.target import (
    ImmediateGoal,
    LatestGoal,
    LsnGoal,
    NameGoal,
    RecoveryTarget,
    TargetAction,
    TimeGoal,
    TimelineRule,
    XidGoal,
    parse_action,
    parse_target,
    parse_timeline,
)

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "goal", "shown"),
    [
        ("latest", LatestGoal(), "the end of the WAL"),
        ("IMMEDIATE", ImmediateGoal(), "the end of the snapshot"),
        ("0/16B3748", LsnGoal(Lsn(0x16B3748)), "LSN 0/16B3748"),
        ("a/b", LsnGoal(Lsn(0xA0000000B)), "LSN A/B"),
        ("xid:741", XidGoal(741), "transaction 741"),
        ("name:before migration", NameGoal("before migration"), "restore point 'before migration'"),
        ("name:2026-11-20 14:03", NameGoal("2026-11-20 14:03"), "restore point '2026-11-20 14:03'"),
        ("14:03 UTC", TimeGoal(datetime(2026, 11, 20, 14, 3, tzinfo=UTC)), "2026-11-20 14:03:00 UTC"),
        ("now", TimeGoal(NOW), "2026-11-20 15:00:00 UTC"),
    ],
)
def test_forms(text, goal, shown):
    target = parse_target(text, NOW, UTC)
    assert target == RecoveryTarget(goal)
    assert str(target) == shown


@given(st.integers(0, MAX_LSN))
def test_every_lsn_is_one(position):
    assert parse_target(str(Lsn(position)), NOW, UTC).goal == LsnGoal(Lsn(position))


@pytest.mark.parametrize("text", ["soon", "", "latests", "xid:", "xid:x", "xid:-5", "xid:2", "xid:4294967297", "name:"])
def test_what_is_none_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_target(text, NOW, UTC)
    assert caught.value.hint


def test_a_long_name_is_no_name():
    assert parse_target("name:" + "é" * 31, NOW, UTC)
    with pytest.raises(UsageError, match="not the name"):
        parse_target("name:" + "é" * 32, NOW, UTC)


def test_the_future_is_not_reachable():
    with pytest.raises(TargetNotReachableError, match="lies in the future") as caught:
        parse_target("15:00:01 UTC", NOW, UTC)
    assert "2026-11-20 15:00:00 UTC now" in caught.value.hint


@pytest.mark.parametrize("goal", [LatestGoal(), ImmediateGoal(), NameGoal("x")])
def test_only_what_has_a_before_can_be_exclusive(goal):
    with pytest.raises(UsageError, match="--exclusive has no meaning"):
        RecoveryTarget(goal, is_inclusive=False)
    assert str(RecoveryTarget(XidGoal(5), is_inclusive=False)) == "just before transaction 5"


def test_timelines():
    assert parse_timeline("latest") is TimelineRule.LATEST
    assert parse_timeline("Current") is TimelineRule.CURRENT
    assert parse_timeline("16") == Timeline(16)
    with pytest.raises(UsageError, match="not a timeline") as caught:
        parse_timeline("00000010")
    assert "--timeline 16" in caught.value.hint
    for text in ("0", "-1", "4294967296", "x", ""):
        with pytest.raises(UsageError):
            parse_timeline(text)


def test_actions():
    assert parse_action(" Pause ") is TargetAction.PAUSE
    with pytest.raises(UsageError) as caught:
        parse_action("stop")
    assert caught.value.hint == "one of promote, pause, shutdown"
