"""Fixtures of restores in place: services of which the test may destroy everything."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.in_place.services import Service, make_service
from tests.integration.in_place.units import UNIT, UnitService, UnitStack
from tests.servers.postgres import make_shared_directory
from tests.servers.systemd import Systemd, booted_systemd

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


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    """A systemd of the test's own."""
    with booted_systemd() as systemd:
        yield systemd


@pytest.fixture
def make_unit(make: Callable[..., Service], systemd: Systemd) -> Iterator[Callable[..., UnitService]]:
    """Make a service of a unit's text: one backup of 1,000 rows, and 2,000 rows now."""
    made: list[UnitService] = []

    def make_one(unit: str, refused_in_backup: bool = False, **restore: object) -> UnitService:
        plain = make(**{"server": {"systemd": UNIT}, "start_timeout": "20s", **restore})
        old = plain.stack
        stack = UnitStack(old.directory, old.connections, old.repository, old.service, systemd.entering)
        service = UnitService(plain.place, plain.binaries, stack, systemd)
        service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
        refused = service.data / "refused"
        if refused_in_backup:
            refused.touch()
        stack.backup()
        refused.unlink(missing_ok=True)
        service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
        plain.stop()
        made.append(service)
        names = {"user": service.data.owner(), "bin": service.binaries.directory, "data": service.data}
        systemd.write_unit(UNIT, unit.format(place=service.place, **names))
        service.start()
        return service

    yield make_one
    for service in made:
        systemd.run("systemctl", "kill", "--signal=SIGKILL", UNIT)
        (service.data / "postmaster.pid").unlink(missing_ok=True)  # an id in there is another process out here
