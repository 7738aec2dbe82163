"""Fixtures of partial restores: a cluster with several databases, its WAL archived, and a table lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import archive_plain_wal, ask, make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import account, postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

SHOP = (
    "SELECT lo_from_bytea(4711, 'a large object')",
    "CREATE SCHEMA sales",
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    """CREATE TABLE sales.orders (id bigserial PRIMARY KEY, "Odd ""name" text,
       length int GENERATED ALWAYS AS (length("Odd ""name")) STORED)""",
    """INSERT INTO sales.orders ("Odd ""name") SELECT E'line\\n\\\\.\\n' || i FROM generate_series(1, 5000) AS i""",
    "CREATE INDEX ON sales.orders (length)",
    "CREATE TABLE feeling (at int, mood mood)",
    """CREATE TABLE public."Mixed Case" (id int GENERATED ALWAYS AS IDENTITY, at date) PARTITION BY RANGE (at)""",
    """CREATE TABLE public.part_1 PARTITION OF public."Mixed Case" FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')""",
    """CREATE TABLE public.part_2 PARTITION OF public."Mixed Case" FOR VALUES FROM ('2026-07-01') TO ('2027-01-01')""",
    """INSERT INTO public."Mixed Case" (at) SELECT date '2026-01-01' + i FROM generate_series(0, 300) AS i""",
)
OTHER = (
    "CREATE TABLE ballast AS SELECT i AS id, md5(i::text) AS a FROM generate_series(1, 200000) AS i",
    "CREATE INDEX ON ballast (id)",
    "CREATE TABLE away TABLESPACE far AS SELECT * FROM ballast LIMIT 50000",
)
AFTER_THE_SNAPSHOT = (
    "CHECKPOINT",
    "UPDATE ballast SET id = -id WHERE id < 3000",
    "DELETE FROM away WHERE id % 2 = 0",
    "VACUUM ballast, away",
    "INSERT INTO ballast SELECT i, 'new' FROM generate_series(1, 20000) AS i",
    "CHECKPOINT",
    "UPDATE ballast SET a = 'changed' WHERE id % 77 = 0",
    "TRUNCATE away",
)
ORDERS = "SELECT md5(string_agg(o::text, '|' ORDER BY id)) FROM sales.orders AS o"
BEFORE_THE_LOSS = "name:before-the-loss"


@dataclass(frozen=True)
class Loss:
    """What was there at the snapshot and just before the table was dropped, as a digest of its rows."""

    cluster: LocalCluster
    at_snapshot: str
    before: str


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loss, StackDirectory]]:
    """A cluster whose table sales.orders of database shop was dropped after a restore point, and its stack.

    Without page checksums: with them, more of the WAL is images of pages, and less would have to be coped with.
    """
    with temporary_clusters() as factory:
        plain = make_place(factory.directory, "plain")
        command = f"test ! -f {plain}/%f && cp %p {plain}/%f.new && mv {plain}/%f.new {plain}/%f"
        settings = {"autovacuum": "off", "archive_mode": "on", "archive_command": command}
        cluster = factory(postgres_binaries(15), settings=settings, has_checksums=False)
        stack = StackDirectory(tmp_path_factory.mktemp("partial"), {"db": cluster.conninfo()})
        place = make_place(factory.directory, "place")
        sql(cluster, "CREATE DATABASE shop", "CREATE DATABASE other", "CREATE DATABASE again")
        sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'")
        sql(cluster, *SHOP, dbname="shop")
        sql(cluster, *OTHER, dbname="other")
        stack.succeed("init")
        at_snapshot = ask(cluster, ORDERS, "shop")
        stack.backup()
        sql(cluster, *AFTER_THE_SNAPSHOT, dbname="other")
        sql(cluster, 'UPDATE sales.orders SET "Odd ""name" = \'x\' WHERE id % 10 = 0', dbname="shop")
        sql(cluster, "DROP DATABASE again", "CREATE DATABASE again", "CREATE DATABASE later")
        sql(cluster, "CREATE TABLE young AS SELECT 1 AS one", dbname="later")
        sql(cluster, "CREATE TABLE young AS SELECT 2 AS two", dbname="again")
        before = ask(cluster, ORDERS, "shop")
        sql(cluster, f"SELECT pg_create_restore_point('{BEFORE_THE_LOSS.removeprefix('name:')}')")
        sql(cluster, "DROP TABLE sales.orders", dbname="shop")
        archive_plain_wal(cluster, stack, plain)
        yield Loss(cluster, at_snapshot, before), stack


@pytest.fixture
def loss(lost: tuple[Loss, StackDirectory]) -> Loss:
    """What was lost."""
    return lost[0]


@pytest.fixture
def stack(lost: tuple[Loss, StackDirectory]) -> StackDirectory:
    """The repository with the snapshot and the WAL."""
    return lost[1]


@pytest.fixture
def temporary(shared_directory: Path) -> Path:
    """Where throw-away clusters are made: it must be empty afterwards."""
    directory = shared_directory / "temporary"
    directory.mkdir()
    account().take_over(directory)
    return directory
