"""Fixtures of backups by the replication protocol: stacks for a role that may replicate and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.wal_receive.test_refusals import access_rules
from tests.servers.postgres import postgres_binaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

COURIER = "courier"
REPLICATION_ALONE = ("local all postgres trust", f"local replication {COURIER} trust")


@pytest.fixture
def make_stack(tmp_path: Path) -> Callable[..., StackDirectory]:
    """Make stacks whose services are read by the replication protocol; the repository is made."""

    def make(*clusters: LocalCluster, name: str = "stack", user: str = "postgres", **options: object) -> StackDirectory:
        names = ["db", *(f"db{number}" for number in range(2, len(clusters) + 1))]
        connections = {each: cluster.conninfo(user=user) for each, cluster in zip(names, clusters, strict=False)}
        options = {"service": {"method": "replication"}, **options}
        stack = StackDirectory(tmp_path / name, connections, **options)
        stack.make_repository()
        return stack

    return make


@pytest.fixture
def make_courier_stack(make_stack: Callable[..., StackDirectory]) -> Callable[..., StackDirectory]:
    """The same, for a role with LOGIN and REPLICATION that no database lets in."""

    def make(cluster: LocalCluster, *, role_is_made: bool = False, **options: object) -> StackDirectory:
        if not role_is_made:  # a standby has it from its primary
            sql(cluster, f"CREATE ROLE {COURIER} LOGIN REPLICATION")
        access_rules(cluster, *REPLICATION_ALONE)
        return make_stack(cluster, user=COURIER, **options)

    return make


@pytest.fixture
def cluster(make_cluster: Callable[..., LocalCluster]) -> LocalCluster:
    """A cluster with a table of 6 MB, at rest."""
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    sql(
        cluster,
        "CREATE TABLE item AS SELECT i AS id, repeat(md5(i::text), 8) AS name FROM generate_series(1, 20000) AS i",
        "VACUUM",
        "CHECKPOINT",
    )
    return cluster
