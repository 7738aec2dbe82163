"""An archive with everything in it: a destroyed server's WAL, its last bytes as pieces, and a backup to begin from."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.servers.postgres import account

from holdfast.errors import HoldfastError
from holdfast.postgres.control import read_control_file
from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import segment_at
from holdfast.postgres.timeline import Timeline
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import object_name, piece_name
from holdfast.wal.restore_command import SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers.postgres import ClusterFactory

    from holdfast.postgres.binaries import Binaries

SEGMENT_SIZE = 1 << 20
BATCHES, ROWS = 6, 4000
_INSERT = "INSERT INTO entry SELECT {0} * 100000 + i, repeat(md5(i::text), 6) FROM generate_series(1, {1}) AS i"


@dataclass
class World:
    """What is left of a server: its archive, and ``base``, restored from its backup and never started."""

    directory: Path
    binaries: Binaries
    stack: StackDirectory
    system_identifier: str
    base: Path
    rows: int
    last_name: str
    last_bytes: int

    @property
    def archive(self) -> WalArchive:
        """The archive, open in this process."""
        repository = self.stack.open()
        return WalArchive(repository.storage, repository.keys, self.system_identifier)

    def stored(self, name: str) -> Path:
        """Where a WAL file of the archive lies on disk."""
        return self.stack.place / object_name(self.system_identifier, name)

    def segments(self) -> list[str]:
        """The whole segments of the archive, in order."""
        return [file.name for file in self.archive.list() if len(file.name) == 24]

    def copy(self, name: str, settings: Mapping[str, str], signal: str = "recovery.signal") -> Path:
        """Copy ``base``, told to recover."""
        directory = self.directory / name
        subprocess.run(["cp", "-a", self.base, directory], check=True)
        (directory / signal).touch()
        account().take_over(directory / signal)
        with (directory / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{key} = '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in settings.items())
        return directory

    def supply(self, directory: Path, history=None, archive=None) -> WalSupply:
        """Return the supply of a copy."""
        return WalSupply(
            archive or self.archive, history, directory / "pg_wal" / SPOOL_NAME, SEGMENT_SIZE, SupplyOptions(account())
        )

    def server(self, directory: Path, **settings: str) -> LocalCluster:
        """Return a copy's server, not started."""
        return LocalCluster(self.binaries, directory, account=account(), settings={"archive_mode": "off", **settings})

    def give_away(self) -> None:
        """Let the servers' account own stack file, secret and repository: its restore_command reads them."""
        for root, directories, names in os.walk(self.stack.directory):
            for entry in (root, *(os.path.join(root, each) for each in directories + names)):
                os.chown(entry, account().uid, account().gid)


def build_world(factory: ClusterFactory, binaries: Binaries) -> World:
    """Run a server, back it up, let it archive, destroy it."""
    directory = factory.directory
    plain = make_place(directory, "plain")
    settings = {"autovacuum": "off", "archive_mode": "on", "archive_command": f"cp %p {plain}/%f"}
    cluster = factory(binaries, "origin", settings=settings, wal_segment_size_bytes=SEGMENT_SIZE)
    sql(cluster, "CREATE TABLE entry (id int PRIMARY KEY, t text NOT NULL)")
    stack = StackDirectory(directory / "stack", {"db": cluster.conninfo()})
    stack.make_repository()
    stack.backup()
    base = directory / "base"
    stack.succeed("restore", "db", "--target", base)
    for batch in range(1, BATCHES + 1):
        sql(cluster, _INSERT.format(batch, ROWS), f"SELECT pg_create_restore_point('batch {batch}')")
    name, flushed = _last_bytes(cluster)
    identifier = str(read_control_file(cluster.data_directory).system_identifier)
    world = World(directory, binaries, stack, identifier, base, BATCHES * ROWS, name, flushed)
    cluster.stop(StopMode.IMMEDIATE)
    push_all(world, plain)
    content = (cluster.data_directory / "pg_wal" / name).read_bytes()
    world.archive.push(piece_name(name, 0, flushed // 2), content[: flushed // 2])
    world.archive.push(piece_name(name, flushed // 2, flushed), content[flushed // 2 : flushed])
    shutil.rmtree(cluster.data_directory)
    return world


def push_all(world: World, plain: Path) -> None:
    """Put what a server archived into the archive."""
    for path in sorted(plain.iterdir()):
        world.archive.push(path.name, path.read_bytes())


def _last_bytes(cluster: LocalCluster) -> tuple[str, int]:
    """Return the segment that is being written, and how much of it is; all before it is archived."""
    flushed = Lsn.parse(ask(cluster, "SELECT pg_current_wal_flush_lsn()::text"))
    segment = segment_at(flushed, Timeline(1), SEGMENT_SIZE)
    before = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    wait_until(lambda: ask(cluster, before) == 0)
    return segment.name, flushed - segment.start


@contextmanager
def recovering(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """Start a server that recovers; it is ended whatever happens."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def wait_for_promotion(cluster: LocalCluster) -> None:
    """Wait until recovery is over."""
    wait_until(lambda: not ask(cluster, "SELECT pg_is_in_recovery()"))


def run_to_its_end(cluster: LocalCluster) -> str:
    """Start a server that must give up; return its log. It may be taken for ready before it has."""
    try:
        cluster.start()
        wait_until(lambda: not cluster.is_running)
        return cluster.log()
    except HoldfastError as error:
        return "\n".join(error.details)
    finally:
        cluster.close()


def require_unpromoted(directory: Path) -> None:
    """The server in the directory can go on with its recovery."""
    assert (directory / "recovery.signal").exists()
    assert read_control_file(directory).timeline == 1


def count(cluster: LocalCluster) -> int:
    """Return how many rows came back; every one must be right."""
    wrong = "SELECT count(*) FROM entry WHERE t <> repeat(md5((id % 100000)::text), 6)"
    assert ask(cluster, wrong) == 0
    return ask(cluster, "SELECT count(*) FROM entry")
