"""A hundred backups in a row, each after a little work: what they store, and what it costs to check and restore."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from benchmarks.incremental import Work
from benchmarks.measure import Run, in_turn, ratio
from benchmarks.peers import Holdfast, HoldfastSetup, tree_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

_STEPS = (5, 20, 25, 25, 25)
"""After how many more backups there is a line."""


@dataclass(frozen=True)
class _Load:
    """What happens between two backups: transactions for each unit of pgbench's scale."""

    name: str
    transactions: float


_LOADS = (_Load("chain, 0.6 % of the pages", 7.5), _Load("chain, a tenth of the pages", 100))


def measure_chain(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure a chain for each load."""
    with psycopg.connect(cluster.conninfo()) as connection:
        (scale,) = connection.execute("SELECT count(*) FROM pgbench_branches").fetchone() or (0,)
    for number, load in enumerate(_LOADS):
        print(f"\n### {load.name}\n", flush=True)
        last = _holdfast(directory, cluster, f"chain-{number}")
        _lengthen(last, directory / f"chain-{number}-repo", Work(cluster, int(load.transactions * scale)))
        fresh = _holdfast(directory, cluster, f"chain-{number}-fresh")
        fresh.empty()
        fresh.backup()
        _restore(directory / "restored", last, fresh, rounds)


def _lengthen(holdfast: Holdfast, repo: Path, work: Work) -> None:
    """Back up again and again; measure what that stores, and now and then a check."""
    work.run()
    holdfast.empty()
    holdfast.backup()
    print(
        "| backups | changed pages at zstd 3, MB | stored, MB | ratio | backup, CPU s | check, CPU s "
        "| of it for each of these, ms |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    done, checked_s = 0, _check_cpu_s(holdfast)
    for step in _STEPS:
        before, cpu_s = tree_bytes(repo), 0.0
        for _ in range(step):
            work.run()
            cpu_s += holdfast.backup().cpu_s
        packed, stored = sum(work.packed_bytes[-step:]) / 1e6, (tree_bytes(repo) - before) / 1e6
        before_s, checked_s = checked_s, _check_cpu_s(holdfast)
        print(
            f"| {done + 1} to {done + step} | {packed:.1f} | {stored:.1f} | {stored / packed:.2f} "
            f"| {cpu_s / step:.2f} | {checked_s:.2f} | {(checked_s - before_s) / step * 1000:.1f} |",
            flush=True,
        )
        done += step


def _check_cpu_s(holdfast: Holdfast) -> float:
    """Return what a check takes: the median of some, as one more backup adds a few milliseconds to it."""
    return statistics.median(holdfast.run_as_owner("check").cpu_s for _ in range(5))


def _restore(target: Path, last: Holdfast, fresh: Holdfast, rounds: int) -> None:
    figures = in_turn(
        rounds,
        {
            "restore of the last of the chain": (lambda: _absent(target), lambda: _restored(last, target)),
            "restore of the same, backed up afresh": (lambda: _absent(target), lambda: _restored(fresh, target)),
        },
    )
    _absent(target)
    print("\n| what | wall, median s | spread | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
    for figure in figures.values():
        print(figure.row())
    in_chain, anew = figures.values()
    print(f"restore, against a fresh one: {ratio(in_chain, anew):.2f}x wall, {in_chain.cpu_s / anew.cpu_s:.2f}x CPU")


def _holdfast(directory: Path, cluster: LocalCluster, name: str) -> Holdfast:
    return Holdfast(directory / name, cluster, HoldfastSetup(name, str(directory / f"{name}-repo")))


def _restored(holdfast: Holdfast, target: Path) -> Run:
    """Restore, without the third of a second of both cores that a passphrase takes."""
    return holdfast.run_as_owner("restore", "db", "--target", str(target))


def _absent(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
