"""A tablespace made after the snapshot, recovered on the machine where its cluster runs: never written into."""

import re
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.recovery.world import SEGMENT_BYTES, SETTINGS, World
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walpage import read_shape
from holdfast.postgres.waltablespace import TablespaceSearch
from holdfast.wal.names import piece_name

_CREATE = re.compile(
    r"len \(rec/tot\): +\d+/ +(?P<length>\d+),.* lsn: (?P<lsn>\S+),.* desc: CREATE (?P<oid>\d+) \"(?P<place>.*)\""
)


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


def stored_tablespaces(world):
    """Return (position, oid, place) of what our search finds in the plain archive, latest segment first."""
    search, found = TablespaceSearch(), []
    for path in sorted(world.plain.glob("0" * 7 + "1" + "?" * 16), reverse=True):
        content = path.read_bytes()
        start = Lsn(int.from_bytes(content[8:16], "little"))
        found += search.look(read_shape(content), content, start)
    return sorted((made.lsn, made.oid, made.location) for made in found)


def dumped_tablespaces(world):
    """Return (position, length, oid, place) of the same as pg_waldump reads it."""
    program, names = world.server.binaries.program("pg_waldump"), sorted(each.name for each in world.plain.glob("0*"))
    command = [program, "--path", world.plain, "--rmgr", "Tablespace", names[0], names[-1]]
    lines = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    made = [match for line in lines if (match := _CREATE.search(line))]
    return [(Lsn.parse(each["lsn"]), int(each["length"]), int(each["oid"]), each["place"]) for each in made]


def write_up_to(world, left):
    """Write WAL until about so many bytes are left of the segment."""
    at = Lsn.parse(ask(world.server, "SELECT pg_current_wal_insert_lsn()::text"))
    length = -(at + left) % SEGMENT_BYTES
    sql(world.server, f"SELECT pg_logical_emit_message(false, 'filler', repeat('x', {length - length // 300 - 60}))")


def test_records_that_make_tablespaces_are_found_and_nothing_else_also_over_the_ends_of_segments(
    world, shared_directory
):
    assert SETTINGS["archive_mode"] == "on"
    for number in range(40):
        place = make_place(shared_directory, f"place{number}-" + "x" * 150)
        world.load(4)
        write_up_to(world, 6 * number)
        sql(world.server, f"CREATE TABLESPACE t{number} LOCATION '{place}'")
    world.archive_all()
    made = dumped_tablespaces(world)
    assert len(made) == 40
    crossing = [lsn for lsn, length, _, _ in made if lsn // SEGMENT_BYTES < (lsn + length) // SEGMENT_BYTES]
    assert len(crossing) > 4
    assert stored_tablespaces(world) == [(lsn, oid, place) for lsn, _, oid, place in made]


def test_a_tablespace_in_wal_that_was_only_received_in_part_ends_recovery_too(world, shared_directory, tmp_path):
    stack = StackDirectory(tmp_path / "stack", {"db": world.server.conninfo()})
    stack.succeed("init")
    stack.backup()
    world.archive_all()
    archive = world.push(stack)
    place = make_place(shared_directory, "place")
    sql(world.server, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    name, lsn = ask(world.server, "SELECT pg_walfile_name(l) || ' ' || l FROM pg_current_wal_flush_lsn() AS l").split()
    length = Lsn.parse(lsn) % SEGMENT_BYTES
    growing = (world.server.data_directory / "pg_wal" / name).read_bytes()[:length]
    for begin in range(0, length, 3000):
        end = min(begin + 3000, length)
        archive.push(piece_name(name, begin, end), growing[begin:end])
    held = tree(place)
    run = stack.run("restore", "db", "--target", shared_directory / "latest", "--to", "latest")
    assert run.code == 13, str(run)
    assert f"a tablespace was made in {place}, which is in use on this machine" in run.error["message"]
    assert tree(place) == held
