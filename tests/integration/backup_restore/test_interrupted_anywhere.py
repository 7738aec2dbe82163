"""A signal at any instant of a run: one error and exit code 130, no traceback, and a state that can be gone on from."""

from __future__ import annotations

import random
import shutil
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import finish, wait_until

from holdfast import clock

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize(
    ("seed", "number_of_runs"), [(1, 8), pytest.param(2, 100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_signal_at_any_instant_ends_a_run_in_order(quiet_stack, shared_directory, seed, number_of_runs):
    randomness = random.Random(seed)
    target = shared_directory / "restored"
    commands = [("backup", "db"), ("restore", "db", "--target", target)]
    instants_s = [clock.monotonic()]
    for command in commands:
        quiet_stack.succeed(*command)
        instants_s.append(clock.monotonic())
    durations_s = [end - begin for begin, end in pairwise(instants_s)]
    for _ in range(number_of_runs):
        which = randomness.randrange(len(commands))
        shutil.rmtree(target, ignore_errors=True)
        child = quiet_stack.start(*commands[which])
        wait_until_it_catches_signals(child)
        clock.sleep(randomness.uniform(0, durations_s[which]))
        child.send_signal(randomness.choice(SIGNALS))
        if randomness.random() < 0.4:
            clock.sleep(randomness.choice([0.001, 0.01, 0.1]) * randomness.random())
            child.send_signal(randomness.choice(SIGNALS))
        run = finish(child)
        assert run.code in {0, 130}, str(run)
        assert run.stderr == "", str(run)
        assert [each["exit_code"] for each in run.messages if each["message_type"] == "error"] == [130] * (run.code > 0)
    if not (target / "global" / "pg_control").exists() and target.exists():
        quiet_stack.succeed(*commands[1], "--resume")
    quiet_stack.backup()
    quiet_stack.check()


def wait_until_it_catches_signals(child) -> None:
    """Wait until our code is at work: what comes while Python itself starts ends as in any Python program."""
    wait_until(lambda: catches(child, signal.SIGHUP))  # the last one


def catches(child, number) -> bool:
    status = Path(f"/proc/{child.pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)
