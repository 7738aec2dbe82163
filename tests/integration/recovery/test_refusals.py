"""Targets that cannot be: one line, a hint with usable values, the exit code, and nothing changed."""

import os
from datetime import timedelta

import pytest
from tests.integration.backup_restore.stack import StackDirectory, wait_until

from holdfast import clock
from holdfast.errors import TargetNotReachableError
from holdfast.operations.recovery.run import recover, recovered
from holdfast.postgres.control import ClusterState, read_control_file
from holdfast.postgres.lsn import Lsn
from holdfast.progress import Silence
from holdfast.restore.target import LsnGoal, NameGoal, RecoveryTarget, XidGoal


@pytest.fixture
def target(past):
    """A directory for one restore."""
    return past.directory / f"refused{os.urandom(4).hex()}"


def refused(past, target, *arguments, code=13):
    """Run a restore that must be refused, before anything is made; return the error."""
    stored = sorted(past.stack.place.rglob("*"))
    run = past.stack.run("restore", "db", "--target", target, *arguments)
    assert run.code == code, str(run)
    assert not target.exists()
    assert sorted(past.stack.place.rglob("*")) == stored
    error = run.error
    assert error["hint"], error
    assert "\n" not in error["message"]
    return error


def first_stop(past):
    return Lsn.parse(past.stack.snapshots()[0]["facts"]["stop_lsn"])


def test_fault_13_a_target_before_the_end_of_every_snapshot_is_refused_with_the_window(past, target):
    snapshot = past.stack.snapshots()[0]
    stop, stop_time = first_stop(past), snapshot["facts"]["stop_time"]
    early = [end for end in past.world.truth(4).ends if end.is_commit and end.lsn < stop][-1]
    for words in (str(stop + -1), f"xid:{early.xid}", early.time.isoformat()):
        error = refused(past, target, "--to", words)
        assert "before the end of the oldest snapshot" in error["message"], words
        assert f"timeline 4 from {stop} to " in " ".join(error["details"])
        assert stop_time[:19].replace("T", " ") in " ".join(error["details"])


def test_fault_13_the_same_for_a_snapshot_that_was_named(past, target):
    newest = past.stack.snapshots()[-1]
    error = refused(past, target, "--to", "name:on-1", "--snapshot", newest["id"])
    assert newest["facts"]["stop_lsn"] in error["message"]


def test_a_target_beyond_the_wal_is_refused_with_the_window(past, target):
    end = past.world.truth(4).records[-1]
    beyond = Lsn(end + 16 * 2**20)
    assert "the WAL of the archive ends at" in refused(past, target, "--to", beyond)["message"]
    last = max(each.time for each in past.world.truth(4).ends)
    later = last + timedelta(milliseconds=300)
    wait_until(lambda: clock.now() > later)
    error = refused(past, target, "--to", later.isoformat())
    assert "does not reach" in error["message"]
    assert "timeline 4 from" in " ".join(error["details"])
    assert f"{last:%Y-%m-%d %H:%M}" in error["hint"]
    assert "--to latest" in error["hint"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--to", "xid:4000000000"], 13, "no transaction 4000000000 in the WAL"),
        (["--to", "name:never"], 13, "no restore point 'never'"),
        (["--to", "name:ON-1"], 13, "no restore point 'ON-1'"),
        (["--to", "2199-01-01 00:00"], 13, "in the future"),
        (["--to", "2026-10-25 02:30 Europe/Berlin"], 2, "happens twice"),
        (["--to", "2026-03-29 02:30 Europe/Berlin"], 2, "does not exist"),
        (["--to", "01/02/2026 10:00"], 2, "not clear which day"),
        (["--to", "soon"], 2, "not a recovery target"),
        (["--to", "xid:0"], 2, "not a transaction id"),
        (["--to", "latest", "--timeline", "9"], 13, "no timeline 9"),
        (["--to", "latest", "--timeline", "0000000A"], 2, "not a timeline"),
        (["--to", "latest", "--exclusive"], 2, "--exclusive has no meaning"),
        (["--to", "latest", "--action", "dance"], 2, "not an action"),
        (["--exclusive"], 2, "none is given"),
        (["--timeline", "2"], 2, "none is given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused(past, target, arguments, code, words):
    assert words in refused(past, target, *arguments, code=code)["message"]


def test_a_transaction_that_was_rolled_back_is_refused_with_its_place(past, target):
    aborted = next(end for end in past.world.truth(4).ends if not end.is_commit and end.lsn > first_stop(past))
    error = refused(past, target, "--to", f"xid:{aborted.xid}")
    assert f"rolled back at {aborted.lsn}" in error["message"]
    assert str(aborted.lsn) in error["hint"]


def test_what_is_on_another_timeline_only_is_named(past, target):
    """The branch that nobody followed gave out more ids than the one that was followed."""
    alone = [end for end in past.world.truth(2).ends if end.is_commit][-1]
    assert alone.xid > max(end.xid for end in past.world.truth(4).ends)
    assert "--timeline 2" in refused(past, target, "--to", f"xid:{alone.xid}")["hint"]


def test_a_name_that_was_given_twice_is_refused_with_both_places(past, target, monkeypatch):
    prepared = past.prepare(RecoveryTarget(NameGoal("on-1")), target)
    point = prepared.expected.position
    twice = [_Point(point.start), _Point(Lsn(point.start + 512))]
    monkeypatch.setattr("holdfast.wal.find.WalFinder.find_restore_point", lambda *_: twice)
    with pytest.raises(Exception, match="there are 2 restore points 'on-1'") as caught:
        past.prepare(RecoveryTarget(NameGoal("on-1")), target)
    assert str(point.start) in caught.value.details[0]


class _Point:
    def __init__(self, lsn):
        self.start = self.end = lsn
        self.time = clock.now()


def test_fault_14_a_target_that_no_record_reaches_fails_and_says_how_far_it_came(past, target):
    """The bytes are there, but after the switch of the last segment they hold no record."""
    last = past.world.truth(4).records[-1]
    empty = Lsn((last // 2**20 + 1) * 2**20 - 64)
    run = past.stack.run("restore", "db", "--target", target, "--to", empty)
    assert run.code == 13, str(run)
    assert f"recovery did not reach LSN {empty}: it came to " in run.error["message"]
    assert "on timeline 4, the last transaction ended 20" in run.error["message"]
    assert read_control_file(target).state is ClusterState.SHUT_DOWN_IN_RECOVERY


@pytest.mark.parametrize("action", ["promote", "pause", "shutdown"])
def test_fault_34_wal_that_goes_missing_after_the_plan_is_no_success(past, target, action, tmp_path):
    from holdfast.restore.target import TargetAction

    end = [end for end in past.world.truth(4).ends if end.is_commit][-30]
    prepared = past.prepare(RecoveryTarget(XidGoal(end.xid), action=TargetAction(action)), target)
    past.restored(prepared)
    hidden = list(prepared.choice.proof.files())[-1]
    (stored,) = (past.stack.place / "wal").rglob(hidden)
    stored.rename(tmp_path / hidden)
    try:
        with pytest.raises(TargetNotReachableError, match="did not reach transaction") as caught:
            recover(prepared, target, Silence())
    finally:
        (tmp_path / hidden).rename(stored)
    assert caught.value.exit_code == 13
    assert read_control_file(target).state is ClusterState.SHUT_DOWN_IN_RECOVERY


def test_damaged_wal_ends_recovery_with_its_name(past, target, tmp_path):
    end = [end for end in past.world.truth(4).ends if end.is_commit][-30]
    prepared = past.prepare(RecoveryTarget(LsnGoal(end.lsn)), target)
    past.restored(prepared)
    name = list(prepared.choice.proof.files())[-1]
    (stored,) = (past.stack.place / "wal").rglob(name)
    content = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(content[:-100] + bytes(100))
    try:
        with pytest.raises(Exception, match=name) as caught, recovered(prepared, target, Silence()):
            pass
    finally:
        stored.write_bytes(content)
    assert caught.value.exit_code == 14


def test_without_any_wal_only_the_snapshot_is_there(past, target, tmp_path):
    """A stack whose WAL nobody archives: latest is the snapshot's end, and everything else says what is missing."""
    stack = StackDirectory(tmp_path / "bare", {"db": past.world.server.conninfo()})
    stack.succeed("init")
    stack.backup()
    bare = past.__class__(past.world, stack, past.directory, past.archive)
    error = refused(bare, target, "--to", "xid:4000000000")
    assert "usable: timeline 4" in error["hint"]
    error = refused(bare, target, "--to", "1 second ago")
    assert error["hint"]
    message = stack.succeed("restore", "db", "--target", target, "--to", "latest").message("recovered")
    assert (message["wal_segments"], message["reached_timeline"]) == (0, 4)
