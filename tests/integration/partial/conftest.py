"""Fixtures of partial restores: a cluster with several databases, its WAL archived, and a table lost at a known time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import ClusterFactory, make_shared_directory, postgres_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.local import LocalCluster

SHOP = (
    "CREATE SCHEMA sales",
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    """CREATE TABLE sales.orders (id bigserial PRIMARY KEY, "Odd ""name" text, mood mood DEFAULT 'good',
       length int GENERATED ALWAYS AS (length("Odd ""name")) STORED)""",
    """INSERT INTO sales.orders ("Odd ""name") SELECT E'line\\n\\\\. ' || i FROM generate_series(1, 5000) AS i""",
    """CREATE TABLE public."Mixed Case" (id int GENERATED ALWAYS AS IDENTITY, at date) PARTITION BY RANGE (at)""",
    """CREATE TABLE public.part_1 PARTITION OF public."Mixed Case" FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')""",
    """CREATE TABLE public.part_2 PARTITION OF public."Mixed Case" FOR VALUES FROM ('2026-07-01') TO ('2027-01-01')""",
    """INSERT INTO public."Mixed Case" (at) SELECT date '2026-01-01' + i FROM generate_series(0, 300) AS i""",
    "CREATE INDEX ON sales.orders (length)",
)


@pytest.fixture(scope="module")
def source() -> Iterator[LocalCluster]:
    """A running cluster with the databases shop and other, of which other is far larger."""
    factory = ClusterFactory(make_shared_directory())
    try:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off", "wal_level": "replica"})
        place = make_place(factory.directory, "place")
        sql(cluster, "CREATE DATABASE shop", "CREATE DATABASE other", f"CREATE TABLESPACE far LOCATION '{place}'")
        sql(cluster, *SHOP, dbname="shop")
        sql(
            cluster,
            "CREATE TABLE ballast AS SELECT i AS id, md5(i::text) AS a FROM generate_series(1, 400000) AS i",
            "CREATE INDEX ON ballast (id)",
            "CREATE TABLE away TABLESPACE far AS SELECT * FROM ballast LIMIT 50000",
            dbname="other",
        )
        yield cluster
    finally:
        factory.close()
        shutil.rmtree(factory.directory)


@pytest.fixture(scope="module")
def stack(source: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> StackDirectory:
    """A repository with one snapshot."""
    stack = StackDirectory(tmp_path_factory.mktemp("partial"), {"db": source.conninfo()})
    stack.succeed("init")
    stack.backup()
    return stack
