"""SIGKILL at every point of a delta restore: nothing starts on a half state, and the same command finishes."""

import os
import signal

import pytest
from tests.integration.backup_restore.clusters import ask, start_restored
from tests.integration.delta.copies import content, delta, differences, largest

from holdfast.crashpoint import CrashPoint

POINTS = [point for point in CrashPoint if point.value.startswith("delta.")] + [CrashPoint.RESTORE_SPAN_WRITTEN]
STARTABLE = {CrashPoint.DELTA_CONTROL_NAMED}


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(stack, source, copy, wanted, make_cluster, point):
    with largest(copy / "base").open("r+b") as file:
        file.write(os.urandom(3 << 20))
    (copy / "surplus").touch()
    run = stack.run("restore", "db", "--target", copy, "--delta", HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL, f"{point} was not reached: {run}"
    assert (copy / "global" / "pg_control").exists() == (point in STARTABLE)
    delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert not list(copy.rglob("*.holdfast-*"))
    assert ask(start_restored(make_cluster, source, copy), "SELECT count(*) FROM item") == 20000
