"""The supplying process is killed, wherever it is: the server is told to stop, at once, and gets no part of a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.unit.wal.recovering import (
    DONE,
    KEYS,
    OWN_ACCOUNT,
    SIZE,
    STOP,
    SYSTEM,
    Recovering,
    make_segment,
    push,
    segment_name,
    wait_until,
)

from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.restore_command import SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Iterator

Starter = "Callable[..., tuple[subprocess.Popen[str], str]]"
_SUPPLIER = """
import sys, time
from pathlib import Path
from tests.unit.wal.recovering import KEYS, OWN_ACCOUNT, SIZE, SYSTEM, make_segment, segment_name
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.supply import SupplyOptions, WalSupply
archive = WalArchive(MemoryStorage(), KEYS, SYSTEM)
for number in range(1, 6):
    archive.push(segment_name(number), make_segment(segment_name(number)))
with WalSupply(archive, None, Path(sys.argv[1]), SIZE, SupplyOptions(OWN_ACCOUNT)) as supply:
    print(supply.restore_command, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_process(server: Recovering) -> Iterator[Starter]:
    """Start a process that supplies; it is killed after the test, if it still lives."""
    started = []

    def start(**environment: str) -> tuple[subprocess.Popen[str], str]:
        child = subprocess.Popen(
            [sys.executable, "-c", _SUPPLIER, str(server.pg_wal / SPOOL_NAME)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
        )
        started.append(child)
        return child, child.stdout.readline().strip()

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_recovery_stops_at_once_and_the_next_process_takes_over(server, other_process):
    child, command = other_process()
    assert server.ask(command, segment_name(1)).code == DONE
    wait_until((server.pg_wal / SPOOL_NAME / "ready" / segment_name(5)).exists)
    child.kill()
    child.wait()
    assert server.ask(command, segment_name(2)).code == DONE  # proven, and laid ready, when it still lived
    assert server.ask(command, segment_name(6)).code == STOP
    archive = WalArchive(MemoryStorage(), KEYS, SYSTEM)
    push(archive, 1)
    with WalSupply(archive, None, server.pg_wal / SPOOL_NAME, SIZE, SupplyOptions(OWN_ACCOUNT)) as supply:
        assert sorted(path.name for path in (server.pg_wal / SPOOL_NAME / "ready").iterdir()) == []
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        assert server.restored.read_bytes() == make_segment(segment_name(1), fill=1)


@pytest.mark.parametrize("point", ["fetch.received", "fetch.written", "fetch.ready", "fetch.answering"])
def test_who_waits_is_told_to_stop(server, other_process, point):
    child, command = other_process(HOLDFAST_CRASH_POINT=point)
    assert server.ask(command, segment_name(1)).code == STOP
    assert child.wait(60) == -signal.SIGKILL
    assert not server.restored.exists()


def test_a_process_that_was_only_stopped_is_waited_for(server, other_process):
    child, command = other_process()
    child.send_signal(signal.SIGSTOP)
    waiting = server.start(command, segment_name(1))
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    child.send_signal(signal.SIGCONT)
    assert waiting.wait(60) == DONE
    waiting.stderr.close()
