"""One destroyed server for all tests that only read its archive; a copy of the archive for those that damage it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.wal_fetch.worlds import World, build_world
from tests.servers.postgres import postgres_binaries, temporary_clusters

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def whole_world() -> Iterator[World]:
    """A world of PostgreSQL 15, to be left as it is."""
    with temporary_clusters() as factory:
        yield build_world(factory, postgres_binaries(15))


@pytest.fixture
def world(whole_world: World, shared_directory) -> World:
    """The same, with a directory and an archive of its own."""
    directory = shared_directory / "stack"
    shutil.copytree(whole_world.stack.directory, directory)
    stack = StackDirectory(directory, whole_world.stack.connections)
    return replace(whole_world, directory=shared_directory, stack=stack)
