"""Backups that follow WAL summaries, beside those that read all changed files: 18, 20,000 TPC-B transactions."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from tests.servers.postgres import account, postgres_binaries

from benchmarks.cluster import SETTINGS, fill, require_binaries
from benchmarks.measure import in_turn, ratio
from benchmarks.peers import Holdfast, HoldfastSetup
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAJOR = 18
TRANSACTIONS = 20_000
_CLIENTS = 8
_HINT = "    wal_summaries: hint\n"


def measure_summaries(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure backups after some work, with the hint and without, on a cluster like ``cluster`` of a newer version."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pgbench_branches").fetchone()
    with _running(directory, row[0] if row else 0) as newer:
        _measure(directory, newer, rounds)


@contextmanager
def _running(directory: Path, scale: int) -> Iterator[LocalCluster]:
    """Yield the cluster, running; it is made when the directory does not hold it yet."""
    data = directory / f"cluster-{scale}-{MAJOR}"
    is_new = not (data / "PG_VERSION").exists()
    binaries = postgres_binaries(MAJOR)
    if is_new:
        settings = {**SETTINGS, "summarize_wal": "on"}
        create_cluster(binaries, data, ClusterOptions(settings=settings, has_checksums=True), account())
    with LocalCluster(binaries, data, account=account()) as cluster:
        if is_new:
            fill(cluster, scale)
        yield cluster


def _measure(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    hinted, reading = _holdfast(directory, cluster, "summaries", _HINT), _holdfast(directory, cluster, "no-summaries")

    def work() -> None:
        pgbench = require_binaries().program("pgbench")
        count = str(TRANSACTIONS // _CLIENTS)
        command = [str(pgbench), "-n", "-c", str(_CLIENTS), "-j", "2", "-t", count, cluster.conninfo()]
        subprocess.run(command, check=True, capture_output=True)
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def work_unseen() -> None:
        work()
        _evict(cluster.data_directory)

    for each in (hinted, reading):
        each.empty()
        each.run_as_host("backup", "db")
    figures = in_turn(
        rounds,
        {
            "pages that summaries name": (work, lambda: hinted.run_as_host("backup", "db")),
            "all changed files": (lambda: None, lambda: reading.run_as_host("backup", "db")),
        },
    )
    cold = in_turn(
        rounds,
        {
            "pages that summaries name, none of the cluster in memory": (
                work_unseen,
                lambda: hinted.run_as_host("backup", "db"),
            ),
            "all changed files, the same": (
                lambda: _evict(cluster.data_directory),
                lambda: reading.run_as_host("backup", "db"),
            ),
        },
    )
    print("\n| Holdfast, writer credential, reads | wall, median s | spread | CPU s | peak MiB |")
    print("| --- | --- | --- | --- | --- |")
    for figure in (*figures.values(), *cold.values()):
        print(figure.row())
    for with_hint, without in (figures.values(), cold.values()):
        saved = without.cpu_s - with_hint.cpu_s
        print(f"with the hint: {ratio(without, with_hint):.2f}x as fast, {saved:.2f} CPU s less")


def _evict(directory: Path) -> None:
    """Take the files below a directory out of the page cache."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _holdfast(directory: Path, cluster: LocalCluster, name: str, service: str = "") -> Holdfast:
    return Holdfast(directory / name, cluster, HoldfastSetup(name, str(directory / f"{name}-repo"), service=service))
