"""Fixtures of delta restores: a cluster with something of everything, a snapshot of it, and copies that went astray."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.delta.copies import content
from tests.servers.postgres import account, make_shared_directory, postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.delta.copies import Content

    from holdfast.postgres.local import LocalCluster


@pytest.fixture(scope="module")
def source() -> Iterator[LocalCluster]:
    """A running cluster with a table in a tablespace, one that does not compress, and a hole in a file."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off"})
        place = make_place(factory.directory, "place")
        sql(
            cluster,
            "CREATE EXTENSION pgcrypto",
            f"CREATE TABLESPACE elsewhere LOCATION '{place}'",
            "CREATE TABLE item AS SELECT i AS id, gen_random_bytes(400) AS b FROM generate_series(1, 20000) AS i",
            "CREATE INDEX ON item (id)",
            "CREATE TABLE far TABLESPACE elsewhere AS SELECT i AS id FROM generate_series(1, 50000) AS i",
            "CHECKPOINT",
        )
        with (cluster.data_directory / "sparse").open("wb") as file:
            file.write(b"begin" + bytes(8192))
            file.seek(3 << 20)
            file.write(b"end")
        yield cluster


@pytest.fixture(scope="module")
def stack(source: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> StackDirectory:
    """A repository with one snapshot."""
    stack = StackDirectory(tmp_path_factory.mktemp("delta"), {"db": source.conninfo()})
    stack.succeed("init")
    stack.backup()
    return stack


@pytest.fixture(scope="module")
def restored(stack: StackDirectory) -> Iterator[Path]:
    """A directory with a restored copy and its tablespace, to be copied from."""
    directory = make_shared_directory()
    target = directory / "copy"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"elsewhere={directory / 'far'}")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def copy(restored: Path, shared_directory: Path) -> Path:
    """A restored copy of a test's own, with its tablespace beside it."""
    subprocess.run(["cp", "-a", restored / "copy", restored / "far", shared_directory], check=True)
    target = shared_directory / "copy"
    (link,) = (target / "pg_tblspc").iterdir()
    link.unlink()
    link.symlink_to(shared_directory / "far")
    os.lchown(link, account().uid, account().gid)
    (target / "tablespace_map").write_text(f"{link.name} {shared_directory / 'far'}\n")
    return target


@pytest.fixture
def wanted(copy: Path) -> Content:
    """What the snapshot is, to the byte: the copy itself, before anything is done to it."""
    return content(copy)
