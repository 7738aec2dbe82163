"""A process is told from one that had its number before, and from one that has ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from holdfast import process


def test_a_process_began_once(tmp_path) -> None:
    """Under a name that looks like the end of a name, and like more fields."""
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "60"]) as child:
        said = process.began(child.pid)
        is_zombie = process.is_zombie(child.pid)
        child.kill()
    ticks = os.sysconf("SC_CLK_TCK")
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - int(said) / ticks < 60
    assert int(said) > int(process.began(os.getpid()))
    assert not is_zombie


def test_what_has_ended_is_a_zombie_until_it_is_waited_for() -> None:
    child = subprocess.Popen(["sleep", "60"])
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_zombie(child.pid)
    child.wait()
    assert not process.is_zombie(child.pid)
    assert process.began(child.pid) == ""
