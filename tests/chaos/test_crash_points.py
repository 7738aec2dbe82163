"""SIGKILL at every named crash point: the repository checks clean, the next run succeeds and reuses what was stored."""

import signal

import pytest
from tests.integration.backup_restore.clusters import ask, require_free, start_restored

from holdfast.crashpoint import CrashPoint

INIT = [CrashPoint.INIT_SLOT_STORED]
RESTORE = [point for point in CrashPoint if point.value.startswith("restore.")]
_ELSEWHERE = ("swap.", "drop.", "delta.", "push.", "serve.", "fetch.", "receive.", "adopt.", "recovery.")
ELSEWHERE = [point for point in CrashPoint if point.value.startswith(_ELSEWHERE)]
"""Visited in tests/integration: in_place, delta, recovery and the rooms of WAL."""
BACKUP = [point for point in CrashPoint if point not in {*INIT, *RESTORE, *ELSEWHERE}]
NOTHING_STORED = {
    CrashPoint.SESSION_OPENED,
    CrashPoint.BACKUP_STARTED,
    CrashPoint.SPAN_READ,
    CrashPoint.BACKUP_STOPPED,
    CrashPoint.WAL_CAPTURED,
    CrashPoint.PACK_FULL,
    CrashPoint.MANIFEST_BUILT,
}
"""The cluster is smaller than a pack, so the first one is stored when all is read."""
COMMITTED = {CrashPoint.SNAPSHOT_STORED, CrashPoint.SESSION_CLOSED}
STARTABLE = {CrashPoint.RESTORE_CONTROL_RENAMED, CrashPoint.RESTORE_FINISHED}


def killed(stack, point, *arguments):
    """Run the command line until it dies at a crash point."""
    run = stack.run(*arguments, HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL, f"{point} was not reached: {run}"


def test_every_crash_point_has_its_test():
    assert {*INIT, *BACKUP, *RESTORE, *ELSEWHERE} == set(CrashPoint)
    assert set(BACKUP) >= NOTHING_STORED | COMMITTED


@pytest.mark.parametrize("passing", [1, 2])
def test_init(stack, passing):
    killed(stack, f"{CrashPoint.INIT_SLOT_STORED}:{passing}", "init")
    run = stack.run("backup", "db")
    assert (run.code, "no repository" in run.error["message"]) == (10, True)
    # they might be those of an init that runs elsewhere right now: the operator is told, and decides
    run = stack.run("init")
    assert (run.code, "broken off" in run.error["message"]) == (2, True)
    assert "delete keys/" in run.error["hint"]
    for path in (stack.place / "keys").iterdir():
        path.unlink()
    (stack.place / "keys").rmdir()
    stack.succeed("init")
    stack.backup()


@pytest.mark.parametrize("point", BACKUP)
def test_backup(stack, small_cluster, point):
    stack.succeed("init")
    # both packs are stored at once: when the second one is, that with the content is
    killed(stack, f"{point}:2" if point is CrashPoint.PACK_STORED else point, "backup", "db")
    require_free(small_cluster)
    stack.check()
    assert len(stack.snapshots()) == (point in COMMITTED)

    again = stack.backup()
    stats = again["stats"]
    if point in NOTHING_STORED:
        assert stats["new_plain_bytes"] > 8 << 20
    elif point in COMMITTED:
        assert stats["new_plain_bytes"] < 2 << 20
        assert again["parent"]
    else:
        assert stats["new_plain_bytes"] < 20 << 20  # the WAL of this run, and little else
        assert stats["stored_bytes"] < 2 << 20
    report = stack.check()
    assert not any("in no index" in notice for notice in report.notices)
    assert not list((stack.place / "sessions").iterdir())


@pytest.mark.parametrize("point", RESTORE)
def test_restore(stored, shared_directory, make_cluster, small_cluster, point):
    target = shared_directory / "restored"
    killed(stored, point, "restore", "db", "--target", target)
    control = target / "global" / "pg_control"
    assert control.exists() == (point in STARTABLE)
    stored.check()
    if point == CrashPoint.RESTORE_PLANNED:
        assert not target.exists()
        stored.succeed("restore", "db", "--target", target)
    elif point == CrashPoint.RESTORE_FINISHED:
        run = stored.run("restore", "db", "--target", target, "--resume")
        assert (run.code, "whole already" in run.error["message"]) == (2, True)
    else:
        assert stored.run("restore", "db", "--target", target).code == 2
        stored.succeed("restore", "db", "--target", target, "--resume")
    assert control.exists()
    assert not list(target.rglob("*.holdfast-unfinished"))
    restored = start_restored(make_cluster, small_cluster, target)
    assert ask(restored, "SELECT count(*) FROM item") == 20000
