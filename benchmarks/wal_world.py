"""What the recoveries are measured on: a cluster, copied while it was shut down, and the WAL that it wrote afterwards.

The WAL is of every kind: bulk loads, updates all over a table, index builds, full pages after checkpoints. It is kept
three times: as plain files, in a Holdfast repository, and in one of pgBackRest (zstd 3, its cipher on, two processes).
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.cluster import require_binaries
from benchmarks.peers import emptied
from holdfast.postgres.account import Account, server_account
from holdfast.postgres.control import read_control_file
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster
from holdfast.repository.cache import ObjectCache
from holdfast.repository.init import init_repository
from holdfast.repository.opening import open_repository
from holdfast.repository.unlock import Identity
from holdfast.storage.files import FilesStorage
from holdfast.wal.archive import WalArchive

if TYPE_CHECKING:
    from holdfast.postgres.binaries import Binaries

SEGMENTS = 300
_SCALE = 20
_IDENTITY = Identity(bytes(32))
_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "synchronous_commit": "off",
    "archive_mode": "on",
}
_PGBACKREST = """
[global]
repo1-path={place}/pgbackrest
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=benchmark-only
process-max=2
compress-type=zst
compress-level=3
archive-async={asynchronous}
archive-get-queue-max=512MiB
spool-path={place}/pgbackrest-spool
log-path={place}
lock-path={place}
log-level-console=warn
log-level-file=off
[bench]
pg1-path={data}
pg1-socket-path={socket}
pg1-user=postgres
"""
_WORK = [
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 20 = {n} % 20",
    "INSERT INTO pgbench_history SELECT i % 7, i % 99, i, i, now(), 'x' FROM generate_series(1, 100000) AS i",
    "CREATE TABLE IF NOT EXISTS grown (i bigint, t text)",
    "INSERT INTO grown SELECT i, md5(i::text) FROM generate_series(1, 100000) AS i",
    "CREATE INDEX IF NOT EXISTS grown_{n} ON grown (i) WHERE i % 7 = {n} % 7",
]


@dataclass(frozen=True)
class WalWorld:
    """The place of it all; made once, and kept."""

    place: Path
    binaries: Binaries

    @property
    def account(self) -> Account:
        """Who runs the servers."""
        return server_account(Path("/nonexistent"))

    @property
    def plain(self) -> Path:
        """The plain WAL files."""
        return self.place / "plain"

    @property
    def origin(self) -> Path:
        """The cluster that wrote the WAL."""
        return self.place / "origin"

    @property
    def base(self) -> Path:
        """Its copy from before."""
        return self.place / "base"

    def archive(self) -> WalArchive:
        """Open Holdfast's archive."""
        storage = FilesStorage(str(self.place / "holdfast"))
        repository = open_repository(storage, _IDENTITY, lambda name: ObjectCache(self.place / "cache", name))
        identifier = str(read_control_file(self.base).system_identifier)
        return WalArchive(repository.storage, repository.keys, identifier)

    def copy(self, name: str) -> Path:
        """Return a fresh copy of the base that is told to recover."""
        directory = self.place / name
        subprocess.run(["rm", "-rf", str(directory)], check=True)
        subprocess.run(["cp", "-a", str(self.base), str(directory)], check=True)
        (directory / "recovery.signal").touch()
        self.account.take_over(directory / "recovery.signal")
        return directory

    def pgbackrest(self, data: Path, socket: str = "", *, asynchronous: str = "y") -> Path:
        """Write pgBackRest's configuration for a data directory."""
        path = self.place / f"{data.name}-{asynchronous}.conf"
        path.write_text(_PGBACKREST.format(place=self.place, data=data, socket=socket, asynchronous=asynchronous))
        return path


def wal_world(directory: Path) -> WalWorld:
    """Return the world; it is made when it is not there (some minutes)."""
    world = WalWorld(directory / "wal-world", require_binaries())
    if not (world.place / "whole").exists():
        print(f"making {SEGMENTS} segments of WAL", flush=True)
        subprocess.run(["rm", "-rf", str(world.place)], check=True)
        for each in (world.place, world.plain, world.place / "pgbackrest", world.place / "pgbackrest-spool"):
            emptied(each, world.account)
        _write_wal(world)
        _fill_holdfast(world)
        _fill_pgbackrest(world)
        (world.place / "whole").touch()
    return world


def _write_wal(world: WalWorld) -> None:
    settings = {**_SETTINGS, "archive_command": f"cp %p {world.plain}/%f"}
    create_cluster(world.binaries, world.origin, ClusterOptions(settings=settings), world.account)
    cluster = LocalCluster(world.binaries, world.origin, account=world.account)
    with cluster:
        pgbench = world.binaries.program("pgbench")
        subprocess.run([pgbench, "-i", "-q", "-s", str(_SCALE), cluster.conninfo()], check=True, capture_output=True)
    subprocess.run(["cp", "-a", str(world.origin), str(world.base)], check=True)
    before = len(list(world.plain.iterdir()))
    with cluster, psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        turn = 0
        while len(list(world.plain.iterdir())) - before < SEGMENTS:
            turn += 1
            for statement in _WORK:
                connection.execute(statement.format(n=turn))
            if turn % 10 == 0:
                connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_switch_wal()")
        while _is_archiving(connection):
            time.sleep(0.1)


def _is_archiving(connection: psycopg.Connection) -> bool:
    waiting = connection.execute("SELECT FROM pg_ls_archive_statusdir() WHERE name ~ 'ready' LIMIT 1")
    return waiting.fetchone() is not None


def _fill_holdfast(world: WalWorld) -> None:
    init_repository(FilesStorage(str(world.place / "holdfast")), [(_IDENTITY, "benchmark")])
    archive = world.archive()
    for path in sorted(world.plain.iterdir()):
        archive.push(path.name, path.read_bytes())


def _fill_pgbackrest(world: WalWorld) -> None:
    identity = world.account.child_identity()
    with LocalCluster(world.binaries, world.origin, account=world.account) as cluster:
        socket = cluster.conninfo().split()[0].removeprefix("host=")
        command = [
            "pgbackrest",
            f"--config={world.pgbackrest(world.origin, socket, asynchronous='n')}",
            "--stanza=bench",
        ]
        subprocess.run([*command, "stanza-create"], check=True, cwd="/", **identity)
        for path in sorted(world.plain.iterdir()):
            subprocess.run([*command, "archive-push", os.fspath(path)], check=True, cwd="/", **identity)
