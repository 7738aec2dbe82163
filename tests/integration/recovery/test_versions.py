"""What differs by version or by circumstance: each PostgreSQL, an idle server, a server that nobody may look into."""

from pathlib import Path

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.integration.recovery.world import World, xids_of
from tests.servers.postgres import account, postgres_binaries

from holdfast import clock
from holdfast.postgres.local import LocalCluster


@pytest.fixture
def make_world(make_cluster, shared_directory, tmp_path):
    """Make a cluster that archives, and a stack with one snapshot of it."""

    def make(major=15):
        plain = shared_directory / "plain"
        plain.mkdir()
        account().take_over(plain)
        world = World(make_cluster, postgres_binaries(major), plain, seed=1)
        stack = StackDirectory(tmp_path / "stack", {"db": world.server.conninfo()})
        stack.service["binaries"] = str(world.server.binaries.directory)
        stack.write()
        stack.succeed("init")
        world.load(10)
        return world, stack

    return make


def insert_one(server):
    """Commit one transaction; return its id and the position after it."""
    with psycopg.connect(server.conninfo()) as connection:
        query = "INSERT INTO ledger (xid) VALUES (pg_current_xact_id()::text::bigint) RETURNING xid"
        (xid,) = connection.execute(query).fetchone()
    return xid, ask(server, "SELECT pg_current_wal_insert_lsn()::text")


@pytest.mark.parametrize("major", [pytest.param(17, marks=pytest.mark.slow), 18])
def test_every_kind_of_target_on_other_versions(make_world, shared_directory, major):
    world, stack = make_world(major)
    stack.backup()
    first, _ = insert_one(world.server)
    world.name_point("between")
    after_first = ask(world.server, "SELECT clock_timestamp()::text")
    second, position = insert_one(world.server)
    third, _ = insert_one(world.server)
    world.archive_all()
    world.push(stack)
    until_first = {xid for xid in xids_of(world.server.conninfo()) if xid <= first}
    until_second = until_first | {second}
    for number, (arguments, wanted) in enumerate(
        [
            (["--to", f"xid:{second}"], until_second),
            (["--to", f"xid:{second}", "--exclusive"], until_first),
            (["--to", "name:between"], until_first),
            (["--to", after_first], until_first),
            (["--to", position, "--exclusive"], until_second),
            (["--to", "latest"], until_second | {third}),
            (["--to", "immediate"], until_first - {first}),
        ]
    ):
        target = shared_directory / f"restored{number}"
        message = stack.succeed("restore", "db", "--target", target, *arguments).message("recovered")
        assert message["new_timeline"] == 2
        with LocalCluster(world.server.binaries, target, account=account()) as cluster:
            assert xids_of(cluster.conninfo()) == wanted, arguments


def test_an_instant_in_which_nothing_happened_is_reached_where_the_wal_tells_a_later_time(make_world, shared_directory):
    """PostgreSQL itself would call this target not reached: no transaction follows it."""
    world, stack = make_world()
    stack.backup()
    stack.connections = {"db": f"host={shared_directory} user=postgres dbname=postgres"}
    stack.write()  # nobody answers there: a server that does would be asked for a later time
    last, _ = insert_one(world.server)
    quiet = clock.now()
    wait_until(lambda: (clock.now() - quiet).total_seconds() > 2)
    target = shared_directory / "restored"
    world.archive_all()
    world.push(stack)
    run = stack.run("restore", "db", "--target", target, "--to", quiet.isoformat())
    assert (run.code, target.exists()) == (13, False)
    sql(world.server, "CHECKPOINT")
    world.archive_all()
    world.push(stack)
    message = stack.succeed("restore", "db", "--target", target, "--to", quiet.isoformat()).message("recovered")
    assert message["stopped"] == ""
    with LocalCluster(world.server.binaries, target, account=account()) as cluster:
        assert last in xids_of(cluster.conninfo())


def test_fault_15_a_server_that_cannot_pause_is_never_taken_for_a_paused_one(make_world, shared_directory):
    """With more than 64 subtransactions open since before the snapshot nobody may connect, so nothing can pause."""
    world, stack = make_world()
    with psycopg.connect(world.server.conninfo()) as holder:
        for number in range(80):
            holder.execute(f"SAVEPOINT s{number}")
            holder.execute("INSERT INTO ledger (xid) VALUES (0)")
        stack.backup()
        wanted, _ = insert_one(world.server)
        later, _ = insert_one(world.server)
        sql(world.server, "CHECKPOINT")
        world.archive_all()
    world.push(stack)
    for action in ("pause", "shutdown"):
        target = shared_directory / action
        run = stack.run("restore", "db", "--target", target, "--to", f"xid:{wanted}", "--action", action)
        assert run.code == 1, str(run)
        assert f"it could not {action}" in run.error["message"]
        assert not (target / "postmaster.pid").exists()
    target = shared_directory / "promote"
    stack.succeed("restore", "db", "--target", target, "--to", f"xid:{wanted}")
    with LocalCluster(world.server.binaries, target, account=account()) as cluster:
        found = xids_of(cluster.conninfo())
        assert wanted in found
        assert later not in found


def test_more_buffers_than_this_machine_has_memory_do_not_keep_a_cluster_from_recovering(make_world, shared_directory):
    """As on a smaller machine than its origin's, or beside that one."""
    world, stack = make_world()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    wanted = f"'{4 * int(memory.split()[1]) >> 10}MB'"
    sql(world.server, f"ALTER SYSTEM SET shared_buffers = {wanted}")  # it counts from the next start on
    stack.backup()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--to", "immediate")
    assert wanted in (target / "postgresql.auto.conf").read_text()
