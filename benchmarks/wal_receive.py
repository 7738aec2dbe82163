"""The streaming receiver at full pgbench load: CPU, how far the repository is behind, memory, what it costs pgbench.

The lag is measured for WAL of every moment alike: how long after the server had flushed a position locally, it heard
that the repository holds it. (``flush_lag`` of pg_stat_replication is shorter: it looks at the newest bytes only.)
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.peers import Holdfast, HoldfastSetup
from holdfast.wal.receive_state import Activity, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.local import LocalCluster

_SECONDS = 30
_SAMPLE_S = 0.02
_CLIENTS = 8
_TICKS = os.sysconf("SC_CLK_TCK")
_SLOT = "holdfast_db"
_ELSEWHERE = os.environ.get("HOLDFAST_BENCH_ELSEWHERE")
"""A directory on another disk for the repository; unset: beside the cluster."""


def measure_wal_receive(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure pgbench alone, with the receiver, and with the receiver as a synchronous standby; print a table."""
    print(f"pgbench, {_CLIENTS} clients, {_SECONDS} s each, {rounds} rounds, synchronous_commit = on")
    print("| | transactions/s | WAL MB/s | receiver, cores | lag p50, ms | lag p99, ms | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for _ in range(rounds):
        print(f"| pgbench alone | {_pgbench(cluster):,.0f} | | | | | |", flush=True)
        with _receiver(directory, cluster) as pid:
            print(_row("with wal receive", cluster, pid), flush=True)
        with _synchronous(cluster), _receiver(directory, cluster) as pid:
            print(_row("with wal receive as synchronous standby", cluster, pid), flush=True)


def _row(name: str, cluster: LocalCluster, pid: int) -> str:
    before, cpu, began = _position(cluster), _cpu_s(pid), time.monotonic()
    process = _start_pgbench(cluster)
    lags = _sample_lags(cluster, process)
    rate = _rate(process)
    seconds = time.monotonic() - began
    cores = (_cpu_s(pid) - cpu) / seconds
    wal = (_position(cluster) - before) / seconds / 1e6
    p99 = statistics.quantiles(lags, n=100)[98]
    return (
        f"| {name} | {rate:,.0f} | {wal:.1f} | {cores:.2f} | {statistics.median(lags) * 1000:.0f} "
        f"| {p99 * 1000:.0f} | {_peak_mib(pid):.0f} |"
    )


def _sample_lags(cluster: LocalCluster, process: subprocess.Popen[str]) -> list[float]:
    """Return, for samples taken while pgbench runs, after how many seconds the repository had what was flushed then."""
    samples: list[tuple[float, int, int]] = []
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        query = "SELECT pg_current_wal_flush_lsn() - '0/0', flush_lsn - '0/0' FROM pg_stat_replication"
        while process.poll() is None or samples[-1][2] < samples[0][1]:
            row = connection.execute(query).fetchone()
            if row is None:
                raise RuntimeError("the receiver is gone")
            samples.append((time.monotonic(), int(row[0]), int(row[1])))
            time.sleep(_SAMPLE_S)
    return list(_lags(samples))


def _lags(samples: list[tuple[float, int, int]]) -> Iterator[float]:
    """Yield the lag of each sample (time, flushed, stored) that was stored by the end."""
    later = 0
    for at, flushed, _ in samples:
        while later < len(samples) and samples[later][2] < flushed:
            later += 1
        if later < len(samples):
            yield max(0.0, samples[later][0] - at)


@contextmanager
def _receiver(directory: Path, cluster: LocalCluster) -> Iterator[int]:
    """Run a receiver into a new repository; give its process id."""
    repo, spool = Path(_ELSEWHERE or directory) / "wal-receive-repo", directory / "wal-receive-spool"
    shutil.rmtree(spool, ignore_errors=True)
    work = directory / "wal-receive"
    Holdfast(work, cluster, HoldfastSetup("wal-receive", str(repo))).empty()
    config = work / "receive.yaml"
    config.write_text(f"{(work / 'identity.yaml').read_text()}    wal: {{spool: {spool}}}\n")
    command = [str(Path(sys.executable).with_name("holdfast")), "-c", str(config), "wal", "receive", "db"]
    process = subprocess.Popen([*command, "--create-slot"], stdout=subprocess.DEVNULL)
    try:
        while (state := read_state(spool)) is None or state.activity is not Activity.STREAMING:
            if process.poll() is not None:
                raise RuntimeError(f"the receiver ended with {process.returncode}")
            time.sleep(0.05)
        _wait_until_level(cluster)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)
        subprocess.run([*command, "--drop-slot"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(repo, ignore_errors=True)


def _wait_until_level(cluster: LocalCluster) -> None:
    """Wait until the repository has all that the server has.

    A new slot begins at the last checkpoint, so the receiver first takes what was written since: easily gigabytes,
    and seconds of lag that have nothing to do with keeping up.
    """
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_flush_lsn()"
        while connection.execute(query).fetchone() != (1,):
            time.sleep(_SAMPLE_S)


@contextmanager
def _synchronous(cluster: LocalCluster) -> Iterator[None]:
    _set(cluster, f"SET synchronous_standby_names = '{_SLOT}'")
    try:
        yield
    finally:
        _set(cluster, "RESET synchronous_standby_names")


def _set(cluster: LocalCluster, what: str) -> None:
    with psycopg.connect(cluster.conninfo() + " options='-c synchronous_commit=local'", autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM {what}".encode())
        connection.execute("SELECT pg_reload_conf()")


def _pgbench(cluster: LocalCluster) -> float:
    return _rate(_start_pgbench(cluster))


def _start_pgbench(cluster: LocalCluster) -> subprocess.Popen[str]:
    program = cluster.binaries.program("pgbench")
    return subprocess.Popen(
        [program, "-n", "-c", str(_CLIENTS), "-j", "2", "-T", str(_SECONDS), cluster.conninfo()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PGOPTIONS": "-c synchronous_commit=on"},
    )


def _rate(process: subprocess.Popen[str]) -> float:
    output, _ = process.communicate(timeout=_SECONDS * 4)
    (line,) = [each for each in output.splitlines() if each.startswith("tps")]
    return float(line.split()[2])


def _position(cluster: LocalCluster) -> int:
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row is not None
        return int(row[0])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mib(pid: int) -> float:
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
