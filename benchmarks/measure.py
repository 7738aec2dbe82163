"""Timing whole processes: wall clock, CPU and peak memory as the operating system accounts for them."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.postgres.account import Account, ChildIdentity


@dataclass(frozen=True)
class Run:
    """One finished process (with the children that it waited for); memory in KiB is that of the largest one."""

    wall_s: float
    cpu_s: float
    peak_kib: int


@dataclass(frozen=True)
class Figure:
    """What several runs of one thing took."""

    name: str
    runs: tuple[Run, ...]

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """The median."""
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def peak_mib(self) -> float:
        """The largest."""
        return max(run.peak_kib for run in self.runs) / 1024

    def row(self) -> str:
        """Return a line of a Markdown table: median, spread, CPU, memory."""
        low, high = min(run.wall_s for run in self.runs), max(run.wall_s for run in self.runs)
        return f"| {self.name} | {self.wall_s:.2f} | {low:.2f}-{high:.2f} | {self.cpu_s:.2f} | {self.peak_mib:.0f} |"


def run_once(command: Sequence[str], *, account: Account | None = None) -> Run:
    """Run a command to its end; raise when it fails."""
    identity: ChildIdentity = account.child_identity() if account else {}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", env=environment, **identity
    )
    assert process.stderr is not None
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{complaints.decode()[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def in_turn(rounds: int, things: dict[str, tuple[Callable[[], object], Callable[[], Run]]]) -> dict[str, Figure]:
    """Measure several things in turn, A B A B …: what drifts on the machine hits all of them alike.

    Each thing is (preparation, measured run); the first round warms up and is not counted.
    """
    runs: dict[str, list[Run]] = {name: [] for name in things}
    for number in range(rounds + 1):
        for name, (prepare, measured) in things.items():
            prepare()
            run = measured()
            print(f"  {name}: {run.wall_s:.2f} s{'' if number else ' (warm-up)'}", flush=True)
            if number:
                runs[name].append(run)
    return {name: Figure(name, tuple(measured)) for name, measured in runs.items()}


def ratio(slow: Figure, fast: Figure) -> float:
    """Return the median of how many times longer ``slow`` took than ``fast``, pair by pair."""
    return statistics.median(a.wall_s / b.wall_s for a, b in zip(slow.runs, fast.runs, strict=True))
