"""The demo as its user runs it: what it proves, that a wrong restore fails it, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import clock

TIMEOUT_S = 300


@pytest.fixture
def start_demo(shared_directory, tmp_path):
    """Start a small demo whose temporary directory is the test's own; ended if the test fails."""
    started = []

    def start(*options: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TMPDIR": str(shared_directory),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "demo", "--scale", "1", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT_S)
        process.stdout.close()


def family_of(pid: int) -> set[int]:
    """Return the process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def wait_until_gone(pids: set[int]) -> set[int]:
    """Wait a little for processes to vanish; return those that do not."""
    deadline = clock.monotonic() + 60
    while (alive := {pid for pid in pids if Path(f"/proc/{pid}").exists()}) and clock.monotonic() < deadline:
        clock.sleep(0.05)
    return alive


def socket_directory(root: Path) -> Path | None:
    """Return the private directory of the demo's server, as its stack file names it."""
    stack_files = list(root.glob("holdfast-demo-*/holdfast.yaml"))
    return Path(re.search(r"host=(\S+)", stack_files[0].read_text())[1]) if stack_files else None


def test_the_demo_proves_a_restore_and_leaves_nothing(start_demo, shared_directory, tmp_path):
    demo = start_demo()
    said, _ = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 0, said
    assert len(re.findall(r"^proven: ", said, re.MULTILINE)) == 7, said
    assert re.search(r"all [\d,]{2,} ledger rows", said), said
    assert "FAILED" not in said
    commands = ["init", "backup db", "wal receive db", "snapshots", "restore db --target", "wal adopt db"]
    for command in (*commands, "restore db --to", "restore db --undo", "wal status db", "check --read-data"):
        assert re.search(rf"^\$ holdfast -c \S+/holdfast.yaml {command}", said, re.MULTILINE), command
    assert list(shared_directory.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_kept_demo_can_be_looked_at(start_demo, shared_directory):
    demo = start_demo("--keep", "--json")
    said, _ = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 0, said
    messages = [json.loads(line) for line in said.splitlines()]
    finished = messages[-1]
    assert finished["message_type"] == "demo_finished"
    assert {proof["verdict"] for proof in finished["proofs"]} == {"proven"}
    kept = Path(finished["directory"])
    assert kept.parent == shared_directory
    assert {"data", "holdfast.yaml", "passphrase", "repository"} <= {entry.name for entry in kept.iterdir()}
    assert (kept / "passphrase").stat().st_mode & 0o077 == 0


MOMENTS = ["1. A throw-away", "copying files", "proven: "]
MORE_MOMENTS = ["filled by", "restoring files", "stopping the server"]
INTERRUPTIONS = [
    *((moment, signal.SIGINT) for moment in MOMENTS),
    ("copying files", signal.SIGTERM),
    *(pytest.param(moment, signal.SIGINT, marks=pytest.mark.slow) for moment in MORE_MOMENTS),
]


@pytest.mark.parametrize(("moment", "number"), INTERRUPTIONS)
def test_an_interrupted_demo_leaves_nothing(start_demo, shared_directory, moment, number):
    demo = start_demo()
    said = ""
    for line in demo.stdout:
        said += line
        if moment in line:
            break
    assert moment in said, said
    family, private = family_of(demo.pid), socket_directory(shared_directory)
    demo.send_signal(number)
    clock.sleep(0.2)
    if demo.poll() is None:
        demo.send_signal(number)  # who is impatient presses Ctrl-C twice
    rest, _ = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode in {130, -number}, said + rest  # the second may come when all is done but the ending
    assert re.search(r"^error: .*interrupted", rest, re.MULTILINE), rest
    assert "Traceback" not in said + rest
    assert wait_until_gone(family) == set()
    assert list(shared_directory.iterdir()) == []
    assert private is None or not private.exists()
