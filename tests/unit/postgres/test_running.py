"""Whether a data directory is in use, by what its lock says."""

import os
import subprocess

import pytest

from holdfast.errors import UsageError
from holdfast.postgres.running import require_stopped, servers_using

NOBODY = 2**22 + 1
"""Above the highest number that a process can have (pid_max)."""


def test_a_directory_without_a_lock_is_stopped(tmp_path):
    require_stopped(tmp_path)
    require_stopped(tmp_path / "missing")


@pytest.mark.parametrize(
    "content", ["", "no number\n", f"{NOBODY}\n", f"{NOBODY}\n\n\n\n\n\n  123 4\n", "-\n", f"{2**64}\n", "9" * 5000]
)
def test_a_stale_lock_does_not_count(tmp_path, content):
    (tmp_path / "postmaster.pid").write_text(content)
    require_stopped(tmp_path)


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_lock_of_a_living_process_counts(tmp_path, sign):
    """A negative number is a single-user server's (CreateLockFile)."""
    (tmp_path / "postmaster.pid").write_text(f"{sign}{os.getpid()}\n")
    with pytest.raises(UsageError, match=f"process {os.getpid()}") as caught:
        require_stopped(tmp_path)
    assert "postmaster.pid" in caught.value.hint


def test_nobody_uses_a_directory_that_is_no_tablespace(tmp_path):
    assert servers_using(tmp_path) == []


def test_a_server_that_has_ended_and_was_not_waited_for_does_not_run(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        (tmp_path / "postmaster.pid").write_text(f"{ended.pid}\n")
        require_stopped(tmp_path)
