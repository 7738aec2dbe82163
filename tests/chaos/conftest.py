"""One small cluster, and one repository with a snapshot of it, for all kill tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster


@pytest.fixture(scope="session")
def small_cluster() -> Iterator[LocalCluster]:
    """A cluster of some 40 MiB, a part of which does not compress."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off"})
        sql(
            cluster,
            "CREATE EXTENSION pgcrypto",
            "CREATE TABLE item AS SELECT i AS id, gen_random_bytes(400) AS b FROM generate_series(1, 20000) AS i",
            "CREATE INDEX ON item (id)",
            "CHECKPOINT",
        )
        yield cluster


@pytest.fixture
def stack(small_cluster: LocalCluster, tmp_path: Path) -> StackDirectory:
    """A stack whose repository is still to be made."""
    return StackDirectory(tmp_path / "stack", {"db": small_cluster.conninfo()})


@pytest.fixture(scope="session")
def stored(small_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> StackDirectory:
    """A stack with one snapshot, to restore from; nothing is added to it."""
    stack = StackDirectory(tmp_path_factory.mktemp("stored"), {"db": small_cluster.conninfo()})
    stack.succeed("init")
    stack.backup()
    return stack
