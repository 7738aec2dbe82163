"""The commands that stop and start a server: run without our secrets, and what became of them is told."""

from __future__ import annotations

import os
import signal

import pytest

from holdfast.errors import HoldfastError
from holdfast.services.postgres.server_commands import run_command


def test_the_last_lines_and_the_end_of_a_command_are_told() -> None:
    answer = run_command(("sh", "-c", "seq 1 30; echo broken >&2; exit 3"), 60, {})
    assert answer.ending == "ended with 3"
    assert answer.shown == (*(str(number) for number in range(22, 31)), "broken")


def test_a_command_that_does_not_end_is_killed() -> None:
    answer = run_command(("sh", "-c", "echo begun; exec sleep 600"), 0.5, {})
    assert (answer.code, answer.ending) == (None, "did not end in time")


def test_a_server_that_keeps_the_output_open_is_not_waited_for() -> None:
    answer = run_command(("sh", "-c", "sleep 600 & echo $!"), 60, {})
    os.kill(int(answer.output), signal.SIGKILL)
    assert answer.code == 0


def test_no_secret_of_ours_reaches_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", "secret words")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    answer = run_command(("env",), 60, {})
    assert "XDG_RUNTIME_DIR=/run/user/1" in answer.output
    assert "secret words" not in answer.output


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(HoldfastError, match="cannot run /nowhere/stop now: no such file or directory") as caught:
        run_command(("/nowhere/stop", "now"), 60, {})
    assert "restore.server" in (caught.value.hint or "")
