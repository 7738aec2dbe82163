"""Archiving WAL: one cold push, what ``archive_command`` costs when a segment was shipped ahead, and a backlog's drain.

The backlog is drained by the server's own archiver, as after an outage: its ``.ready`` files are put back between
rounds. What only compressing the same segments takes, with all cores and as the archive is told to compress, is the
limit that it is compared with: each segment read and compressed whole, and frame by frame, which spares memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from tests.servers.installation import holdfast_directory

from benchmarks.cluster import require_binaries
from benchmarks.measure import Figure, Run, in_turn, ratio, run_once
from benchmarks.peers import Holdfast, HoldfastSetup, PgBackRest, emptied
from holdfast.postgres.account import server_account
from holdfast.postgres.initdb import ClusterOptions, add_settings, create_cluster
from holdfast.postgres.local import LocalCluster
from holdfast.repository.walframes import FrameCompressor
from holdfast.wal.archive import DEFAULT_LEVEL
from holdfast.wal.archive_command import command_line
from holdfast.wal.reading import read_wal_file
from holdfast.wal.settings import read_settings
from holdfast.wal.spool import Spool, clear_acknowledgements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEGMENTS = int(os.environ.get("HOLDFAST_BENCH_SEGMENTS", "500"))
_BATCHES = 20
_WHOLE, _BY_FRAMES = "compression alone, segments whole", "compression alone, by frames"
_WAIT_S = 900
_SETTINGS = {
    "archive_mode": "on",
    "archive_command": "false",
    "autovacuum": "off",
    "shared_buffers": "512MB",
    "max_wal_size": "16GB",
    "wal_keep_size": "16GB",
    "synchronous_commit": "off",
}


def measure_wal_push(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure on a cluster of its own, whose WAL is all still there; print one table."""
    del cluster
    with _busy_cluster(directory / "wal-push") as busy:
        bench = _Bench(directory / "wal-push", busy)
        try:
            _measure(bench, rounds)
        finally:
            shutil.rmtree(bench.work, ignore_errors=True)


def _measure(bench: _Bench, rounds: int) -> None:
    bench.answer()
    cold = in_turn(
        rounds * 4,
        {
            "python -I -c pass": (_nothing, lambda: run_once([bench.python, "-I", "-c", "pass"])),
            "push, cold": (bench.forget, bench.push_cold),
            "push, cold, already there": (_nothing, bench.push_cold),
            "pgBackRest archive-push": (bench.peer_forgets, bench.peer_pushes),
        },
    )
    looked = in_turn(rounds * 4, {"archive_command, shipped ahead (mean of 100)": (bench.acknowledge, bench.look)})
    _table({**cold, **looked}, "ms", 1000)
    drained = in_turn(
        max(1, rounds // 2),
        {
            _WHOLE: (_nothing, lambda: bench.on_all_cores(bench.compress_whole)),
            _BY_FRAMES: (_nothing, lambda: bench.on_all_cores(bench.compress_by_frames)),
            "drain, direct": (bench.put_back, bench.drain_direct),
            "drain, served": (bench.put_back, bench.drain_served),
            "pgBackRest, asynchronous": (bench.put_back, bench.peer_drains),
        },
    )
    _table(drained, "s", 1)
    for name in ("drain, direct", "drain, served", "pgBackRest, asynchronous"):
        whole, by_frames = (ratio(drained[name], drained[limit]) for limit in (_WHOLE, _BY_FRAMES))
        print(f"{name}: {1 / whole:.2f} of the compression limit (bar 0.8), {1 / by_frames:.2f} of that by frames")


class _Bench:
    """One backlog, and those who work it off."""

    def __init__(self, work: Path, cluster: LocalCluster) -> None:
        self.work, self._cluster = work, cluster
        self._account = server_account(cluster.data_directory)
        self._wal = cluster.data_directory / "pg_wal"
        self._status = self._wal / "archive_status"
        self._backlog = sorted(name.removesuffix(".ready") for name in os.listdir(self._status))
        self._name = self._backlog[0]
        self.python = str(holdfast_directory() / "python")
        self._spool, self._repo = work / "spool", work / "repo"
        self._ours = Holdfast(
            work / "holdfast",
            cluster,
            HoldfastSetup("local", str(self._repo)),
        )
        stack = work / "holdfast" / "passphrase.yaml"
        stack.write_text(stack.read_text() + f"    wal: {{spool: {self._spool}, queue_limit: 1TiB}}\n")
        self._ours.empty()
        self._stack = stack
        self._give(self._repo)
        subprocess.run(
            [self.python, "-I", "-m", "holdfast", "-c", stack, "wal", "setup", "db"], check=True, capture_output=True
        )  # -I: bytecode is kept whatever the environment says, as where it is installed
        self._settings = read_settings(str(self._spool / "settings"))
        self._peer = PgBackRest(work / "pgbackrest", cluster)
        self._peer.empty()

    def _give(self, path: Path) -> None:
        for root, _, files in os.walk(path):
            for name in (root, *(os.path.join(root, each) for each in files)):
                self._account.take_over(Path(name))

    def _as_account(self, *command: str) -> Run:
        return run_once(command, account=self._account)

    def forget(self) -> None:
        """Leave the archive without the segment."""
        for path in (self._repo / "wal").rglob(self._name):
            path.unlink()

    def answer(self) -> None:
        """Let nothing wait, as where each segment is pushed when it comes; until ``put_back``."""
        for name in self._backlog:
            (self._status / f"{name}.ready").rename(self._status / f"{name}.done")

    def push_cold(self) -> Run:
        """Push one segment; nothing else waits."""
        program = [self.python, "-I", "-c", "from holdfast.cli.entry import run; run()", "-c", str(self._stack)]
        path = self.work / self._name  # of no data directory: so that nothing else is shipped ahead
        if not path.exists():
            shutil.copy(self._wal / self._name, path)
            path.chmod(0o644)
        return self._as_account(*program, "wal", "push", "db", str(path), "--settings", str(self._spool / "settings"))

    def peer_forgets(self) -> None:
        """Leave the peer's archive without the segment."""
        for path in (self._peer.repo / "archive").rglob(f"{self._name}*"):
            path.unlink()

    def peer_pushes(self) -> Run:
        """Let pgBackRest push the segment."""
        config = self.work / "pgbackrest" / "pgbackrest.conf"
        return self._as_account(
            "pgbackrest", f"--config={config}", "--stanza=bench", "archive-push", str(self._wal / self._name)
        )

    def acknowledge(self) -> None:
        """Leave the acknowledgement that a resident process would."""
        spool = Spool(self._settings.spool, self._settings.repository_id)
        spool.acknowledge(self._name, (self._wal / self._name).stat().st_mtime_ns)
        self._give(self._spool / "ack")

    def look(self) -> Run:
        """Run what the server runs, a hundred times; return the mean."""
        command = command_line(str(self._spool)).replace("%p", f"pg_wal/{self._name}").replace("%f", self._name)
        began = time.perf_counter()
        for _ in range(100):
            subprocess.run(["/bin/sh", "-c", command], check=True, cwd=self._cluster.data_directory)
        return Run((time.perf_counter() - began) / 100, 0.0, 0)

    def compress_whole(self, name: str) -> None:
        """Read and compress a segment, and throw the result away."""
        FrameCompressor(DEFAULT_LEVEL).compress(memoryview((self._wal / name).read_bytes()))

    def compress_by_frames(self, name: str) -> None:
        """The same, with no more memory than a frame takes."""
        compressor = FrameCompressor(DEFAULT_LEVEL)
        with closing(read_wal_file(str(self._wal / name), self._settings.segment_size)) as file:
            for frame in file.frames():
                compressor.compress(frame)

    def on_all_cores(self, do: Callable[[str], None]) -> Run:
        """Do something with each segment of the backlog."""
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(do, self._backlog))
        return Run(time.perf_counter() - began, 0.0, 0)

    def put_back(self) -> None:
        """Let the whole backlog wait again, before empty archives."""
        self._archive_by("false")
        for name in self._backlog:
            done = self._status / f"{name}.done"
            if done.exists():
                done.rename(self._status / f"{name}.ready")
        shutil.rmtree(self._repo / "wal", ignore_errors=True)
        clear_acknowledgements(str(self._spool))
        self._peer.empty()
        emptied(self.work / "pgbackrest-spool", self._account)

    def drain_direct(self) -> Run:
        """Let the server archive the backlog, each call pushing by itself."""
        return self._drain(command_line(str(self._spool)))

    def drain_served(self) -> Run:
        """The same, with the resident process."""
        command = [str(holdfast_directory() / "holdfast"), "wal", "serve", "db"]
        process = subprocess.Popen(
            [*command, "--settings", str(self._spool / "settings")],
            stderr=subprocess.DEVNULL,
            cwd="/",
            **self._account.child_identity(),
        )
        try:
            return self._drain(command_line(str(self._spool)))
        finally:
            process.terminate()
            process.wait()

    def peer_drains(self) -> Run:
        """Let pgBackRest archive it, asynchronously with two processes."""
        config = self.work / "pgbackrest" / "pgbackrest.conf"
        options = f"--archive-async --spool-path={self.work / 'pgbackrest-spool'}"
        return self._drain(f"pgbackrest --config={config} --stanza=bench {options} archive-push %p")

    def _drain(self, command: str) -> Run:
        began = time.perf_counter()
        self._archive_by(command)
        while any((self._status / f"{name}.ready").exists() for name in self._backlog[-3:] + self._backlog[:3]):
            if time.perf_counter() - began > _WAIT_S:
                raise RuntimeError(f"the backlog does not drain:\n{self._cluster.log()[-2000:]}")
            time.sleep(0.02)
        return Run(time.perf_counter() - began, 0.0, 0)

    def _archive_by(self, command: str) -> None:
        add_settings(self._cluster.data_directory / "postgresql.conf", {"archive_command": command})
        with psycopg.connect(self._cluster.conninfo(), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)


@contextmanager
def _busy_cluster(work: Path) -> Iterator[LocalCluster]:
    """Yield a cluster with a backlog of SEGMENTS segments that nothing has archived: pgbench's tables and its load."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    work.chmod(0o755)
    binaries, data = require_binaries(), work / "data"
    create_cluster(binaries, data, ClusterOptions(settings=_SETTINGS))
    with LocalCluster(binaries, data) as cluster:
        pgbench = str(binaries.program("pgbench"))
        batch = max(1, SEGMENTS // _BATCHES)
        while _ready(data) < SEGMENTS:
            subprocess.run([pgbench, "-i", "-q", "-s", str(batch), cluster.conninfo()], check=True, capture_output=True)
            load = [pgbench, "-n", "-c", "4", "-j", "2", "-t", str(batch * 100), cluster.conninfo()]
            subprocess.run(load, check=True, capture_output=True)
        yield cluster


def _ready(data: Path) -> int:
    return sum(name.endswith(".ready") for name in os.listdir(data / "pg_wal" / "archive_status"))


def _table(figures: dict[str, Figure], unit: str, factor: int) -> None:
    print(f"\n| what | wall, median {unit} | spread |\n| --- | --- | --- |")
    for name, figure in figures.items():
        walls = sorted(run.wall_s * factor for run in figure.runs)
        print(f"| {name} | {figure.wall_s * factor:.1f} | {walls[0]:.1f}-{walls[-1]:.1f} |")


def _nothing() -> None:
    """Prepare nothing."""
