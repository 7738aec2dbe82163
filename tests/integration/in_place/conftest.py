"""Fixtures of restores in place: services of which the test may destroy everything."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.in_place.services import Service, make_service
from tests.servers.postgres import make_shared_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Make services: ``make()``, ``make(17, checks={"postgres": ["SELECT true"]})``; stopped after the test."""
    made: list[Service] = []
    directories: list[Path] = []

    def make_one(major: int = 15, **restore: object) -> Service:
        directories.append(make_shared_directory())
        made.append(make_service(directories[-1], tmp_path / f"stack-{len(made)}", major, **restore))
        return made[-1]

    yield make_one
    for service in made:
        service.stop("immediate")
    for directory in directories:
        shutil.rmtree(directory)


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A directory on another file system. Asked for before the server that writes there: it goes after it."""
    disk = Path(tempfile.mkdtemp(prefix="holdfast-wal-", dir="/dev/shm"))
    disk.chmod(0o755)
    yield disk / "disk"
    shutil.rmtree(disk)


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    """A service with one backup of 1,000 rows, and 2,000 rows now."""
    service = make()
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
    return service
