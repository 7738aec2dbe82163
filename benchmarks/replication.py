"""A first backup by the replication protocol, beside what sends the same stream to nobody, and the other method.

The server runs on the same cores, and takes about one of them: so the sum of CPU, the server's own included, says more
than the clock on a machine of two.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Run, in_turn, ratio, run_once
from benchmarks.peers import Holdfast, HoldfastSetup, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.postgres.local import LocalCluster

_TICKS = os.sysconf("SC_CLK_TCK")
_UNTIL_REAPED_S = 0.5
_BY_REPLICATION = "    method: replication\n"


def measure_replication(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure both methods and pg_basebackup to a null consumer; then each method after the other; print tables."""
    repo = directory / "replication-repo"
    stream = Holdfast(
        directory / "replication", cluster, HoldfastSetup("replication", str(repo), service=_BY_REPLICATION)
    )
    files = Holdfast(directory / "replication-files", cluster, HoldfastSetup("replication-files", str(repo)))
    server = _ServerCpu(cluster)
    figures = in_turn(
        rounds,
        {
            "Holdfast, first backup, replication": (stream.empty, lambda: server.around(_by_host(stream))),
            "Holdfast, first backup, data directory": (files.empty, lambda: server.around(_by_host(files))),
            "pg_basebackup to a null consumer": (_nothing, lambda: server.around(lambda: _to_nobody(cluster))),
        },
    )
    print("\n| what | wall, median s | spread | CPU s, with the server's | peak MiB |\n| --- | --- | --- | --- | --- |")
    for figure in figures.values():
        print(figure.row())
    ours, other, nobody = figures.values()
    print(f"speed of pg_basebackup to a null consumer: {ratio(nobody, ours):.2f}")
    print(f"speed of the data directory method: {ratio(other, ours):.2f}")
    _measure_change_of_method(stream, files, repo)


def _measure_change_of_method(stream: Holdfast, files: Holdfast, repo: Path) -> None:
    """Print what the first backup by the other method stores."""
    for first, second, name in ((stream, files, "data directory after replication"), (files, stream, "the reverse")):
        first.empty()
        first.backup()
        before = tree_bytes(repo)
        second.backup()
        print(f"{name}: {(tree_bytes(repo) - before) / 1024:.0f} KiB beside {before / 1024**2:.0f} MiB")


class _ServerCpu:
    """Adds to a run's CPU what the processes of the server took meanwhile, those that ended included."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._postmaster = int((cluster.data_directory / "postmaster.pid").read_text().split()[0])

    def around(self, measured: Callable[[], Run]) -> Run:
        """Measure something."""
        before = self._seconds()
        run = measured()
        time.sleep(_UNTIL_REAPED_S)
        return Run(run.wall_s, run.cpu_s + self._seconds() - before, run.peak_kib)

    def _seconds(self) -> float:
        """Return the CPU seconds of the postmaster's dead children (proc(5): cutime, cstime)."""
        fields = Path(f"/proc/{self._postmaster}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS


def _by_host(holdfast: Holdfast) -> Callable[[], Run]:
    return lambda: holdfast.run_as_host("backup", "db")


def _to_nobody(cluster: LocalCluster) -> Run:
    program = str(cluster.binaries.program("pg_basebackup"))
    command = [program, "-d", cluster.conninfo(), "-D", "-", "-Ft", "-X", "fetch", "--checkpoint=fast"]
    return run_once(command)


def _nothing() -> None:
    """Prepare nothing."""
