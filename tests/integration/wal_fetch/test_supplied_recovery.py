"""Real servers recover from the archive through a supply of this process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.integration.wal_fetch.worlds import (
    BATCHES,
    ROWS,
    build_world,
    count,
    recovering,
    require_unpromoted,
    run_to_its_end,
    wait_for_promotion,
)
from tests.servers.majors import on_majors

from holdfast.errors import DamageError, HoldfastError, StorageError, TargetNotReachableError
from holdfast.wal.restore_command import STOP_EXIT


def recover(world, directory, **settings):
    """Recover a copy to its end; return rows and what was served."""
    with world.supply(directory) as supply:
        server = world.server(directory, restore_command=supply.restore_command, **settings)
        with recovering(server):
            wait_for_promotion(server)
            rows = count(server)
        return rows, supply.served


@on_majors(15, 18)
def test_recovery_reaches_the_last_stored_byte(binaries, make_cluster):
    world = build_world(make_cluster, binaries)
    directory = world.copy("copy", {})
    rows, served = recover(world, directory)
    assert rows == world.rows
    assert (served.last, served.part_bytes) == (world.last_name, world.last_bytes)
    assert served.segments >= BATCHES
    assert not list((directory / "pg_wal").glob("holdfast*"))


def test_recovery_to_a_name_stops_there(world):
    directory = world.copy("copy", {})
    rows, _ = recover(world, directory, recovery_target_name="batch 3", recovery_target_action="promote")
    assert rows == 3 * ROWS


def stopped(world, directory) -> HoldfastError:
    """Recover until recovery stops; it must not have been promoted. Return why."""
    with world.supply(directory) as supply:
        log = run_to_its_end(world.server(directory, restore_command=supply.restore_command))
    assert f"child process exited with exit code {STOP_EXIT}" in log
    require_unpromoted(directory)
    assert supply.failure.message in log
    return supply.failure


def test_a_damaged_segment_stops_recovery(world):
    name = world.segments()[3]
    path = world.stored(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    failure = stopped(world, world.copy("copy", {}))
    assert (type(failure), name in failure.message) == (DamageError, True)


def test_a_missing_segment_in_the_middle_stops_recovery(world):
    name = world.segments()[-3]
    world.stored(name).unlink()
    failure = stopped(world, world.copy("copy", {}))
    assert (type(failure), name in failure.message) == (TargetNotReachableError, True)


def test_a_repository_that_goes_away_stops_recovery_and_the_next_start_goes_on(world):
    directory, away = world.copy("copy", {}), world.stack.place.with_name("away")
    archive = Interrupted(world.archive, world.segments()[4], lambda: world.stack.place.rename(away))
    with world.supply(directory, archive=archive) as supply:
        log = run_to_its_end(world.server(directory, restore_command=supply.restore_command))
    assert isinstance(supply.failure, StorageError)
    assert supply.failure.message in log
    require_unpromoted(directory)
    away.rename(world.stack.place)
    assert recover(world, directory)[0] == world.rows


def test_a_supply_that_ends_in_the_middle_stops_recovery(world):
    """The restoring process is gone: the server must not take that for the end of the archive."""
    directory, has_ended = world.copy("copy", {}), threading.Event()
    archive = Interrupted(world.archive, world.segments()[4], lambda: has_ended.wait(30))
    with world.supply(directory, archive=archive) as supply:
        server = world.server(directory, restore_command=supply.restore_command)
        with ThreadPoolExecutor(1) as pool:
            log = pool.submit(run_to_its_end, server)
            archive.was_reached.wait(30)
            supply.__exit__(None, None, None)
            assert f"child process exited with exit code {STOP_EXIT}" in log.result()
            has_ended.set()
    require_unpromoted(directory)
    assert recover(world, directory)[0] == world.rows


class Interrupted:
    """An archive with which something happens before it gives a certain file, or any after it."""

    def __init__(self, archive, name, act):
        self._archive, self._name, self._act = archive, name, act
        self.was_reached = threading.Event()

    def __getattr__(self, name):
        return getattr(self._archive, name)

    def open(self, name, content_limit_bytes):
        """Open a file."""
        if len(name) == 24 and name >= self._name and not self.was_reached.is_set():
            self.was_reached.set()
            self._act()
        return self._archive.open(name, content_limit_bytes)
