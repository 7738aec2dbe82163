"""Recovery from the archive: what one prefetched segment costs PostgreSQL, and whole recoveries beside its peers."""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from benchmarks.wal_world import WalWorld, wal_world
from holdfast.postgres.local import LocalCluster
from holdfast.wal.restore_command import READY, SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from holdfast.wal.supply import Served

SEGMENT_SIZE = 16 << 20
_REDO = re.compile(r"redo done at .* elapsed: ([0-9.]+) s")
_CALLS = 100
_CP = "cp from a plain directory"


@dataclass(frozen=True)
class Recovery:
    """One recovery: from the start of the server to its promotion, and the replay alone as the server measured it."""

    whole_s: float
    replay_s: float


def measure_wal_fetch(directory: Path, _cluster: LocalCluster, rounds: int) -> None:
    """Measure one segment, then whole recoveries in turn; print tables."""
    world = wal_world(directory)
    _measure_one_segment(world)
    ways: dict[str, Callable[[WalWorld, Path], AbstractContextManager[str]]] = {
        _CP: _plain,
        "Holdfast": _supplied,
        "pgBackRest, asynchronous": _pgbackrest,
    }
    figures: dict[str, list[Recovery]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            recovery = _recover(world, way)
            print(f"  {name}: {recovery.whole_s:.2f} s, replay {recovery.replay_s:.2f} s", flush=True)
            if number:
                figures[name].append(recovery)
    segments = len(list(world.plain.iterdir()))
    print(f"\n| recovery of {segments} segments | whole, median s | replay, median s | speed beside cp |")
    print("| --- | --- | --- | --- |")
    base = figures[_CP]
    for name, runs in figures.items():
        whole, replay = (statistics.median(each) for each in zip(*((r.whole_s, r.replay_s) for r in runs), strict=True))
        speed = statistics.median(plain.replay_s / run.replay_s for plain, run in zip(base, runs, strict=True))
        print(f"| {name} | {whole:.2f} | {replay:.2f} | {speed:.3f} |")


def _recover(world: WalWorld, way: Callable[[WalWorld, Path], AbstractContextManager[str]]) -> Recovery:
    data = world.copy("recovering")
    os.sync()
    with way(world, data) as command:
        settings = {"archive_mode": "off", "restore_command": command}
        cluster = LocalCluster(world.binaries, data, account=world.account, settings=settings)
        began = time.perf_counter()
        with cluster:
            _wait_for_promotion(cluster)
            whole_s = time.perf_counter() - began
            found = _REDO.search(cluster.log())
    assert found is not None, cluster.log()
    shutil.rmtree(data)
    return Recovery(whole_s, float(found[1]))


def _wait_for_promotion(cluster: LocalCluster) -> None:
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        while connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            time.sleep(0.05)


@contextmanager
def _plain(world: WalWorld, _data: Path) -> Iterator[str]:
    yield f"cp {world.plain}/%f %p"


@contextmanager
def _supplied(world: WalWorld, data: Path) -> Iterator[str]:
    options = SupplyOptions(world.account)
    with WalSupply(world.archive(), None, data / "pg_wal" / SPOOL_NAME, SEGMENT_SIZE, options) as supply:
        yield supply.restore_command
    served: Served = supply.served
    print(f"    {served.segments} segments, {served.waits} questions, {served.waited_s:.2f} s waited", flush=True)


@contextmanager
def _pgbackrest(world: WalWorld, data: Path) -> Iterator[str]:
    shutil.rmtree(world.place / "pgbackrest-spool")
    (world.place / "pgbackrest-spool").mkdir()
    world.account.take_over(world.place / "pgbackrest-spool")
    yield f'pgbackrest --config={world.pgbackrest(data)} --stanza=bench archive-get %f "%p"'


def _measure_one_segment(world: WalWorld) -> None:
    """Run the command as PostgreSQL does, with the segment ready; print what it took."""
    data = world.copy("recovering")
    names = sorted(path.name for path in world.plain.iterdir() if len(path.name) == 24)[: _CALLS + 2]
    ready = data / "pg_wal" / SPOOL_NAME / READY
    with _supplied(world, data) as command:
        taken, first = [], _call(command, names[0], data)
        for name in names[1:-1]:
            while not (ready / name).exists():
                time.sleep(0.001)
            time.sleep(0.02)
            taken.append(_call(command, name, data))
    copied = [_call(f"cp {world.plain}/%f %p", name, data) for name in names]
    print("\n| one segment, as PostgreSQL sees it | median ms | slowest ms |\n| --- | --- | --- |")
    print(f"| Holdfast, the first one, nothing ready | {first * 1000:.1f} | |")
    print(f"| Holdfast, fetched ahead | {statistics.median(taken) * 1000:.1f} | {max(taken) * 1000:.1f} |")
    print(f"| {_CP} | {statistics.median(copied) * 1000:.1f} | {max(copied) * 1000:.1f} |")
    print(f"\npeak memory of the supplying process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    shutil.rmtree(data)


def _call(command: str, name: str, data: Path) -> float:
    """Run a restore_command; return the seconds. PostgreSQL forks before each, and so the file is written anew."""
    line = command.replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG")
    (data / "pg_wal" / "RECOVERYXLOG").unlink(missing_ok=True)
    began = time.perf_counter()
    child = os.posix_spawn("/bin/sh", ["sh", "-c", f"cd {data}; {line}"], os.environ)
    _, status = os.waitpid(child, 0)
    assert status == 0, line
    return time.perf_counter() - began
