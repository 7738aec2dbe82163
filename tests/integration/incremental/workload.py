"""What may happen to a cluster between two backups, drawn by a seed: all that has fooled incremental backups before."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from tests.integration.backup_restore.clusters import sql
from tests.integration.recovery.world import copy_cluster
from tests.servers.postgres import account, postgres_binaries
from tests.unit.repository.page_chain import MISHAPS

from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.postgres import ClusterFactory

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.facts import ServerFacts

_FILLED = (
    "CREATE TABLE a (id int PRIMARY KEY, n int, t text)",
    "INSERT INTO a SELECT i, i, repeat(md5(i::text), 3) FROM generate_series(1, 20000) AS i",
    "CREATE TABLE b (id int, t text) WITH (fillfactor = 70)",
    "INSERT INTO b SELECT i, md5(i::text) FROM generate_series(1, 30000) AS i",
    "CREATE INDEX b_id ON b (id)",
    "CREATE UNLOGGED TABLE u AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, 15000) AS i",
    "VACUUM",
    "CHECKPOINT",
)


def make_template(factory: ClusterFactory, major: int, settings: dict[str, str], *, has_checksums: bool) -> Path:
    """Return the data directory of a new cluster with some tables, stopped: worlds are copies of it."""
    cluster = factory(
        postgres_binaries(major),
        f"template-{major}",
        settings=settings,
        wal_segment_size_bytes=1 << 20,
        has_checksums=has_checksums,
    )
    sql(cluster, *_FILLED)
    cluster.stop()
    return cluster.data_directory


@dataclass
class World:
    """A cluster that lives by a seed; after each round it stands still."""

    cluster: LocalCluster
    chance: random.Random
    facts: ServerFacts = field(init=False)
    done: list[str] = field(default_factory=list)
    earlier: list[tuple[Path, ServerFacts]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The data directory."""
        return self.cluster.data_directory

    def live(self) -> None:
        """Run a few deeds on the running server, and stop it."""
        self.cluster.start()
        with psycopg.connect(self.cluster.conninfo(), autocommit=True) as connection:
            self.do_some(connection)
            if self.chance.random() < 0.5:
                connection.execute("CHECKPOINT")
        with Server.connect(self.cluster.conninfo()) as server:
            self.facts = server.probe()
        self.cluster.stop(self.chance.choice([StopMode.FAST, StopMode.FAST, StopMode.IMMEDIATE]))

    def do_some(self, connection: psycopg.Connection) -> None:
        """Run a few deeds on the running server."""
        for deed in self.chance.choices(DEEDS, k=self.chance.randint(1, 4)):
            self.done.append(deed.__name__)
            for statement in deed(self.chance):
                connection.execute(statement)

    def suffer(self) -> None:
        """Do something to the stopped cluster, after which it still starts."""
        offline = [self.promote, self.go_back, self.set_times_back, self.keep]
        if self.cluster.binaries.has_program("pg_checksums") and self._is_shut_down():
            offline += [self.toggle_checksums, self.use_numbers_again]
        deed = self.chance.choice(offline)
        self.done.append(deed.__name__)
        deed()

    def vandalise(self) -> None:
        """Write into files of relations as nobody should: torn, swapped, cut, regrown. It need not start again."""
        files = sorted(path for path in (self.root / "base").rglob("*") if path.is_file() and path.name[0].isdigit())
        large = [path for path in files if path.stat().st_size > 300_000]
        for path in self.chance.sample(large, min(4, len(large))):
            mishap = self.chance.choice(MISHAPS)
            self.done.append(f"{mishap.__name__} {path.name}")
            mishap(self.chance, path)

    def keep(self) -> None:
        """Keep a copy, to go back to."""
        copy = self.root.with_name(f"earlier-{len(self.earlier)}")
        copy_cluster(self.root, copy)
        self.earlier.append((copy, self.facts))

    def go_back(self) -> None:
        """Put an earlier copy in place, with the times of its files, as a restore does."""
        if self.earlier:
            copy, self.facts = self.chance.choice(self.earlier)
            copy_cluster(copy, self.root)

    def promote(self) -> None:
        """Make it a standby, and promote it: a new timeline."""
        (self.root / "standby.signal").touch()
        account().take_over(self.root / "standby.signal")
        self.cluster.start()
        with psycopg.connect(self.cluster.conninfo(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")
            connection.execute("UPDATE a SET n = n + 1 WHERE id % 500 = 0")
        with Server.connect(self.cluster.conninfo()) as server:
            self.facts = server.probe()
        self.cluster.stop()

    def set_times_back(self) -> None:
        """Pretend that every file is of long ago."""
        for directory, _, names in os.walk(self.root):
            for name in names:
                os.utime(Path(directory, name), (1, 1))

    def toggle_checksums(self) -> None:
        """Switch page checksums on or off, which rewrites pages without WAL, and leaves their LSN as it was."""
        wanted = "--disable" if self.facts.has_data_checksums else "--enable"
        self._run("pg_checksums", wanted, "-D", self.root)
        self.facts = replace(self.facts, has_data_checksums=not self.facts.has_data_checksums)

    def use_numbers_again(self) -> None:
        """Let the server give numbers of files a second time."""
        self._run("pg_resetwal", "-o", "20000", "-D", self.root)

    def _is_shut_down(self) -> bool:
        program = self.cluster.binaries.program("pg_controldata")
        answer = subprocess.run([program, self.root], capture_output=True, text=True, check=True)
        return "shut down\n" in answer.stdout

    def _run(self, program: str, *arguments: object) -> None:
        command = [self.cluster.binaries.program(program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **account().child_identity())


def update_some(chance: random.Random) -> list[str]:
    """Rows here and there."""
    return [f"UPDATE {chance.choice('ab')} SET t = t || '+' WHERE id % {chance.choice([3, 50, 777])} = 1"]


def update_a_run(chance: random.Random) -> list[str]:
    """Rows side by side."""
    first = chance.randrange(20000)
    return [f"UPDATE a SET n = -n WHERE id BETWEEN {first} AND {first + 900}"]


def delete_and_vacuum(chance: random.Random) -> list[str]:
    """Free space, VM and FSM, and perhaps a shorter file."""
    first = chance.choice([0, 15000])
    return [f"DELETE FROM b WHERE id > {first} AND id % {chance.choice([1, 2, 9])} = 0", "VACUUM b"]


def vacuum_full(chance: random.Random) -> list[str]:
    """The same rows in another file."""
    return [f"VACUUM FULL {chance.choice('ab')}"]


def truncate_and_regrow(chance: random.Random) -> list[str]:
    """A new file; or, in the transaction that made it, the same one cut and written again."""
    rows = chance.randint(0, 20000)
    return [
        "TRUNCATE b",
        f"INSERT INTO b SELECT i, md5((i * {chance.randrange(99)})::text) FROM generate_series(1, {rows}) AS i",
    ]


def cut_by_vacuum_and_regrow(chance: random.Random) -> list[str]:
    """The end of a file cut off by VACUUM, and new pages in its place: where stale VM bits were once carried over."""
    half = "(SELECT '(' || relpages / 2 || ',0)' FROM pg_class WHERE oid = 'b'::regclass)"
    return [
        f"DELETE FROM b WHERE ctid > {half}::tid",
        "VACUUM b",
        f"INSERT INTO b SELECT i, 'again' || i FROM generate_series(1, {chance.randint(1, 20000)}) AS i",
        "VACUUM (FREEZE) b",
    ]


def drop_and_create(chance: random.Random) -> list[str]:
    """Another table, perhaps under the number of the old one."""
    return [
        "DROP TABLE IF EXISTS c",
        "VACUUM pg_class",  # a dead row, too, keeps its number from being given again
        f"CREATE TABLE c AS SELECT i, md5(i::text) AS t FROM generate_series(1, {chance.randint(1, 20000)}) AS i",
    ]


def copy_database(chance: random.Random) -> list[str]:
    """A database made by copying files, past the buffers and without WAL of its pages."""
    return ["DROP DATABASE IF EXISTS copied", "CREATE DATABASE copied TEMPLATE template0 STRATEGY file_copy"]


def set_hint_bits(chance: random.Random) -> list[str]:
    """Pages that change without WAL, where there are no checksums."""
    return [
        "INSERT INTO a SELECT max(id) + 1, 0, 'x' FROM a",
        "CHECKPOINT",
        "SELECT count(t) FROM a",
        "SELECT count(t) FROM b",
    ]


def change_durability(chance: random.Random) -> list[str]:
    """Unlogged to logged and back: files come into the backup, and leave it."""
    return [f"ALTER TABLE u SET {chance.choice(['LOGGED', 'UNLOGGED'])}"]


def vacuum_everything(chance: random.Random) -> list[str]:
    """VM, FSM and freezing."""
    return [chance.choice(["VACUUM", "VACUUM (FREEZE)", "ANALYZE"])]


def reindex(chance: random.Random) -> list[str]:
    """Indexes in other files."""
    return ["REINDEX TABLE a"]


DEEDS: tuple[Callable[[random.Random], list[str]], ...] = (
    update_some, update_some, update_a_run, delete_and_vacuum, vacuum_full, truncate_and_regrow,
    cut_by_vacuum_and_regrow, drop_and_create, copy_database, set_hint_bits, change_durability, vacuum_everything,
    reindex,
)  # fmt: skip


def adopt_copy(template: Path, binaries: Binaries, directory: Path) -> LocalCluster:
    """Return a stopped copy of a template cluster."""
    copy_cluster(template, directory)
    return LocalCluster(binaries, directory, account=account())


def forget(world: World) -> None:
    """Clear a world away."""
    world.cluster.close()
    for path in (world.root, *(copy for copy, _ in world.earlier)):
        shutil.rmtree(path, ignore_errors=True)
