"""What PostgreSQL is told by a ``wal fetch``, however it ends; and the shell lines around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.wal.recovering import exit_code, is_wal_fetch
from holdfast.errors import ExitCode
from holdfast.wal.restore_command import NOT_THERE_EXIT, SPOOL_NAME, STOP_EXIT, asking_arguments, shared_command


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("wal fetch db NAME PATH", True),
        ("-c FILE wal fetch db NAME PATH", True),
        ("--json wal --verbose fetch", True),
        ("wal --idle 5 fetch", False),
        ("wal push db PATH", False),
        ("fetch wal", False),
        ("", False),
    ],
)
def test_a_wal_fetch_is_recognised(line, is_one):
    assert is_wal_fetch(line.split()) is is_one


@given(st.integers(1, 255))
def test_nothing_but_the_deliberate_end_says_not_there(code):
    arguments = ["wal", "fetch", "db", "NAME", "PATH"]
    expected = 1 if code == NOT_THERE_EXIT else STOP_EXIT
    assert exit_code(code, arguments) == expected
    assert exit_code(code, [*arguments, "--not-there-exit", "7"]) == (7 if expected == 1 else STOP_EXIT)
    assert exit_code(0, arguments) == 0


def test_a_standby_is_never_told_to_stop(tmp_path, monkeypatch):
    arguments = ["wal", "fetch", "db", "NAME", "PATH"]
    (tmp_path / "standby.signal").touch()
    monkeypatch.chdir(tmp_path)
    assert exit_code(ExitCode.FAILED, arguments) == 1
    assert exit_code(ExitCode.FAILED, [*arguments, "--not-there-exit", "7"]) == 7
    assert exit_code(0, arguments) == 0


def test_no_exit_code_of_holdfast_is_the_deliberate_one():
    assert NOT_THERE_EXIT not in set(ExitCode)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["wal", "fetch"],
        ["wal", "fetch", "db", "NAME", "PATH", "--nonsense"],
        ["-c", "/nonexistent.yaml", "wal", "fetch", "db", "0" * 23 + "1", "/tmp/nowhere"],
        ["--nonsense", "wal", "fetch"],
    ],
)
def test_a_wrong_command_line_stops_recovery(arguments):
    ended = run(*arguments)
    assert (ended.returncode, "Traceback" in ended.stderr) == (STOP_EXIT, False)
    assert ended.stderr.startswith("error: ")


def test_a_broken_installation_stops_recovery(tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise RuntimeError('half an upgrade')\n")
    assert run("wal", "fetch", "db", "NAME", "PATH", PYTHONPATH=str(tmp_path)).returncode == STOP_EXIT


@pytest.mark.parametrize(
    ("end", "expected"),
    [(0, 0), (NOT_THERE_EXIT, 1), (1, STOP_EXIT), (2, STOP_EXIT), (127, STOP_EXIT), (STOP_EXIT, STOP_EXIT)],
)
def test_the_shared_line_believes_only_the_deliberate_ends(tmp_path, end, expected):
    """A Python that cannot start ends with 1: PostgreSQL would take that for the end of the archive."""
    line = shared_command(Path("pg_wal") / SPOOL_NAME, ["sh", "-c", f"exit {end}"])
    assert "%%" not in line
    line = line.replace("%f", "NAME").replace("%p", "pg_wal/RECOVERYXLOG")
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False).returncode == expected


def test_the_shared_line_never_stops_a_standby(tmp_path):
    (tmp_path / "standby.signal").touch()
    line = shared_command(Path("pg_wal") / SPOOL_NAME, ["/nonexistent/holdfast"])
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False).returncode == 1


@pytest.mark.parametrize("leftovers", [[], ["fetch"], ["fetch", "ask", "answer"]])
def test_where_nobody_supplies_the_command_itself_is_run(tmp_path, leftovers):
    """Also where a killed process left its files: the FIFOs may be there, or not."""
    from holdfast.wal.restore_command import script

    spool = tmp_path / "pg_wal" / SPOOL_NAME
    spool.mkdir(parents=True)
    for name in leftovers:
        if name == "fetch":
            (spool / name).write_text(script(spool))
        else:
            os.mkfifo(spool / name)
    command = asking_arguments(str(spool), "NAME", "pg_wal/RECOVERYXLOG", 1, ["sh", "-c", "echo $0 $1", "ran", "this"])
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ran this\n")
    line = shared_command(spool, ["echo", "instead"]).replace("%f", "NAME").replace("%p", "pg_wal/RECOVERYXLOG")
    ended = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "instead NAME pg_wal/RECOVERYXLOG\n")
