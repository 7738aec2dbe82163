"""Fixtures of the round trips: stacks, and one small cluster for all that only reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster


@pytest.fixture
def make_stack(tmp_path: Path) -> Callable[..., StackDirectory]:
    """Make stacks: ``make_stack(cluster)``, with more of StackDirectory's fields by name; the repository is made."""

    def make(*clusters: LocalCluster, name: str = "stack", **options: object) -> StackDirectory:
        names = ["db", *(f"db{number}" for number in range(2, len(clusters) + 1))]
        connections = {each: cluster.conninfo() for each, cluster in zip(names, clusters, strict=False)}
        stack = StackDirectory(tmp_path / name, connections, **options)
        stack.make_repository()
        return stack

    return make


@pytest.fixture(scope="module")
def quiet_cluster() -> Iterator[LocalCluster]:
    """A running cluster with some rows, for tests that change nothing in it."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off"})
        sql(
            cluster,
            "CREATE TABLE item AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) AS i",
            "VACUUM item",
            "CHECKPOINT",
        )
        yield cluster


@pytest.fixture
def quiet_stack(quiet_cluster: LocalCluster, make_stack: Callable[..., StackDirectory]) -> StackDirectory:
    """A new repository for the quiet cluster."""
    return make_stack(quiet_cluster)
