"""Clusters that archive through Holdfast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.wal_push.archiving import Archiving
from tests.servers.postgres import postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS = {"archive_mode": "on", "archive_command": "false", "autovacuum": "off", "min_wal_size": "80MB"}
SMALL = {"min_wal_size": "8MB", "max_wal_size": "64MB"}


@pytest.fixture
def make_archiving(shared_directory: Path, make_cluster) -> Callable[..., Archiving]:
    """Make a cluster with 1 MiB segments and set its archiving up: ``make_archiving(major=15, wal={...})``."""

    def make(major: int = 15, *, wal: dict[str, object] | None = None, segment_mib: int = 1) -> Archiving:
        settings = {**SETTINGS, **(SMALL if segment_mib == 1 else {})}
        cluster = make_cluster(postgres_binaries(major), wal_segment_size_bytes=segment_mib << 20, settings=settings)
        archiving = Archiving(cluster, shared_directory, wal or {})
        archiving.set_up()
        return archiving

    return make


@pytest.fixture(scope="module")
def kept() -> Iterator[Archiving]:
    """One archiving cluster for all tests of a module that leave it as it was: archiving, nothing in the way."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), wal_segment_size_bytes=1 << 20, settings={**SETTINGS, **SMALL})
        archiving = Archiving(cluster, factory.directory)
        archiving.set_up()
        yield archiving
