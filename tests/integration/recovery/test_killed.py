"""The restoring process killed during recovery: what it leaves is never taken for a success, nor promoted behind it."""

import os
import signal
import subprocess

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.servers.postgres import account

from holdfast.crashpoint import CrashPoint
from holdfast.postgres.control import read_control_file
from holdfast.restore.marker import read_marker

AFTER_PROMOTION = {CrashPoint.RECOVERY_PROMOTED}


def stop(past, target):
    """Stop whatever server still runs in the directory, as a user would."""
    command = [past.world.server.binaries.program("pg_ctl"), "-D", target, "stop"]
    return subprocess.run(command, check=False, capture_output=True, cwd="/", **account().child_identity())


@pytest.mark.parametrize("point", [each for each in CrashPoint if each.value.startswith("recovery.")])
def test_killed_during_recovery(past, point):
    target = past.directory / f"killed{os.urandom(4).hex()}"
    arguments = ("restore", "db", "--target", target, "--to", "name:on-4")
    run = past.stack.run(*arguments, HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL, str(run)
    assert not [each for each in run.messages if each["message_type"] == "recovered"]
    again = past.stack.run(*arguments)
    assert again.code == 2, str(again)
    assert str(target) in again.error["message"]
    stop(past, target)  # which may have given up by itself: nobody supplies it with WAL any more
    wait_until(lambda: not (target / "postmaster.pid").exists())
    assert read_control_file(target).timeline == (5 if point in AFTER_PROMOTION else 4)
    assert bool(read_marker(target).recovered) is (point in AFTER_PROMOTION)
    hint = past.stack.run(*arguments, "--resume").error["hint"]
    assert ("run it again without --resume" in hint) is (point not in AFTER_PROMOTION)


def test_interrupted_by_the_user_it_stops_the_server(past):
    target = past.directory / f"interrupted{os.urandom(4).hex()}"
    child = past.stack.start("restore", "db", "--target", target, "--to", "latest", "--action", "pause")
    wait_until((target / "postmaster.pid").exists)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=180)
    if child.returncode == 0:  # it was quicker: then it runs on, paused, as it was told
        assert '"recovered"' in out
        stop(past, target)
        return
    assert child.returncode == 130, out + err
    assert not (target / "postmaster.pid").exists()
