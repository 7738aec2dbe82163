"""A tablespace made after the snapshot, recovered on the machine where its cluster runs: never written into."""

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.recovery.world import SETTINGS, World
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.waltablespace import made_tablespaces


@pytest.fixture
def world(make_cluster, shared_directory):
    plain = shared_directory / "plain"
    plain.mkdir()
    account().take_over(plain)
    return World(make_cluster, postgres_binaries(15), plain, seed=1)


def tree(place):
    return sorted((str(path), path.stat().st_mtime_ns) for path in place.rglob("*"))


def test_a_tablespace_in_use_here_ends_recovery_before_it_is_touched(world, shared_directory, tmp_path):
    stack = StackDirectory(tmp_path / "stack", {"db": world.server.conninfo()})
    stack.succeed("init")
    stack.backup()
    world.load(10)
    before = ask(world.server, "SELECT pg_current_wal_insert_lsn()::text")
    place = make_place(shared_directory, "place")
    sql(world.server, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    world.load(10)
    world.archive_all()
    world.push(stack)
    held = tree(place)
    run = stack.run("restore", "db", "--target", shared_directory / "latest", "--to", "latest")
    assert run.code == 13, str(run)
    assert f"a tablespace was made in {place}, which is in use on this machine" in run.error["message"]
    assert tree(place) == held
    stack.succeed("restore", "db", "--target", shared_directory / "before", "--to", before, "--exclusive")
    stack.backup()
    world.load(10)
    world.archive_all()
    world.push(stack)
    elsewhere = f"far={make_place(shared_directory, 'elsewhere')}"
    stack.succeed("restore", "db", "--target", shared_directory / "after", "--to", "latest", "--tablespace", elsewhere)
    assert ask(world.server, "SELECT one FROM t") == 1


def test_records_that_make_tablespaces_are_found_and_nothing_else(world, shared_directory):
    assert SETTINGS["archive_mode"] == "on"
    made = []
    for number in range(40):
        place = make_place(shared_directory, f"place{number}")
        world.load(20)
        sql(world.server, f"CREATE TABLESPACE t{number} LOCATION '{place}'")
        made.append((ask(world.server, f"SELECT oid FROM pg_tablespace WHERE spcname = 't{number}'"), str(place)))
    world.archive_all()
    found = []
    for path in sorted(world.plain.glob("0" * 7 + "1" + "?" * 16)):
        content = path.read_bytes()
        found += made_tablespaces(content, Lsn(int.from_bytes(content[8:16], "little")))
    assert [(each.oid, each.location) for each in found] == made
