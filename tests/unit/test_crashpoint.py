"""Crash points end a process at once, where and when they were told to, and otherwise do nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from holdfast.crashpoint import CrashPoint, reach

_PROGRAM = """
from holdfast.crashpoint import CrashPoint, reach
import atexit
atexit.register(lambda: print("exit handler"))
for passing in range(3):
    reach(CrashPoint.PACK_STORED)
    print("passed", flush=True)
    reach(CrashPoint.INDEX_STORED)
"""


def run(asked: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a crash point asked for."""
    environment = {**os.environ, "HOLDFAST_CRASH_POINT": asked}
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("asked", "passings"), [("pack.stored", 0), ("index.stored", 1), ("pack.stored:3", 2)])
def test_the_process_is_killed_at_the_point(asked: str, passings: int) -> None:
    done = run(asked)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "passed\n" * passings


def test_other_points_do_nothing() -> None:
    done = run("session.opened")
    assert (done.returncode, done.stdout) == (0, "passed\n" * 3 + "exit handler\n")
    reach(CrashPoint.PACK_STORED)


def test_names_are_unique_and_many() -> None:
    assert len({point.value for point in CrashPoint}) == len(CrashPoint) >= 20
