"""One world with a past for all tests that only recover from it."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.recovery.world import World, copy_cluster
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast.config.load import load_stack
from holdfast.operations.recovery.plan import PreparedRecovery, RecoveryRequest, prepare_recovery
from holdfast.operations.recovery.run import restore_files
from holdfast.operations.restore import RestoreRequest
from holdfast.postgres.local import StopMode
from holdfast.progress import Silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.archive import WalArchive

SEED = 20261120


@dataclass
class Past:
    """A world, its stack, and a restored copy of each snapshot, to begin recoveries from quickly."""

    world: World
    stack: StackDirectory
    directory: Path
    archive: WalArchive
    bases: dict[str, Path] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, target: RecoveryTarget, directory: Path, snapshot: str = "latest") -> PreparedRecovery:
        """Plan a recovery into a directory."""
        request = RecoveryRequest(RestoreRequest("db", directory, snapshot), target)
        return prepare_recovery(load_stack(self.stack.config), request, Silence())

    def restored(self, prepared: PreparedRecovery) -> Path:
        """Restore the files of a plan: once for each snapshot, then by copying what was restored."""
        target = prepared.restore.plan.layout.target
        snapshot = prepared.choice.point.id
        with self.lock:
            if snapshot not in self.bases:
                restore_files(prepared, Silence())
                self.bases[snapshot] = self.directory / f"base-{snapshot}"
                copy_cluster(target, self.bases[snapshot])
                return target
        copy_cluster(self.bases[snapshot], target)
        return target


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Four timelines, three snapshots, restore points, a branch that nobody followed, two servers killed."""
    with temporary_clusters() as factory:
        plain = factory.directory / "plain"
        plain.mkdir()
        shutil.chown(plain, "postgres")
        world = World(factory, postgres_binaries(15), plain, SEED)
        stack = StackDirectory(tmp_path_factory.mktemp("past"), {"db": world.server.conninfo()})
        stack.succeed("init")
        live_through(world, stack)
        stack.connections = {"db": f"host={plain} user=postgres dbname=postgres"}
        stack.write()  # nobody answers there: what is in the archive is all there is
        with stack.cache_of_children():
            yield Past(world, stack, factory.directory, world.push(stack))
        world.server.stop(StopMode.IMMEDIATE)  # in order it would take long: there is WAL left to be archived


def live_through(world: World, stack: StackDirectory) -> None:
    """Make the past."""
    world.load(60)
    _back_up(world, stack)
    world.load(60)
    world.name_point("on-1")
    world.load_and_kill(40)
    world.load(40)
    world.fail_over()
    world.load(60)
    world.name_point("on-2")
    _back_up(world, stack)
    world.load(40)
    world.fail_over(goes_on=600)
    world.load_and_kill(40)
    world.name_point("on-3")
    world.load(40)
    world.fail_over()
    world.load(60)
    _back_up(world, stack)
    world.load(60)
    world.name_point("on-4")
    world.load(20)
    world.archive_all()


def _back_up(world: World, stack: StackDirectory) -> None:
    stack.connections = {"db": world.server.conninfo()}
    stack.write()
    stack.back_up_here(Silence())
