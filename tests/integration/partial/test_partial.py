"""A database or a table comes back from any instant, into a file or a running database, and nothing stays behind."""

import os
import signal
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import finish, wait_until
from tests.integration.cli.calling import validator
from tests.integration.partial.conftest import BEFORE_THE_LOSS, ORDERS

from holdfast.crashpoint import CrashPoint

TABLE = ("--database", "shop", "--table", "sales.orders")


def part(stack, temporary, *arguments):
    """Run a partial restore that succeeds and leaves nothing behind."""
    done = stack.succeed("restore", "db", *arguments, TMPDIR=str(temporary)).message("part_restored")
    validator("part_restored").validate(done)
    assert list(temporary.iterdir()) == []
    return done


def refused(stack, temporary, *arguments, code=2):
    run = stack.run("restore", "db", *arguments, TMPDIR=str(temporary))
    assert run.code == code, str(run)
    assert list(temporary.iterdir()) == []
    return run.error


@pytest.fixture
def rescue(loss):
    """A new database to load into; its connection string."""
    sql(loss.cluster, "CREATE DATABASE rescue")
    yield loss.cluster.conninfo(dbname="rescue")
    sql(loss.cluster, "DROP DATABASE rescue")


def test_a_database_comes_back_into_another_one(stack, loss, temporary, rescue):
    done = part(stack, temporary, "--database", "shop", "--into", rescue)
    assert ask(loss.cluster, ORDERS, "rescue") == loss.at_snapshot
    assert ask(loss.cluster, 'SELECT count(*) FROM "Mixed Case"', "rescue") == 301
    assert ask(loss.cluster, "SELECT nextval('sales.orders_id_seq')", "rescue") == 5001
    assert not done["is_whole_cluster"]
    assert done["restored_bytes"] < ask(loss.cluster, "SELECT pg_database_size('other')") + (64 << 20)


def test_a_dropped_table_comes_back_into_the_running_database(stack, loss, temporary):
    """From just before it was dropped, while the databases that were left out were written to all the time."""
    done = part(stack, temporary, *TABLE, "--to", BEFORE_THE_LOSS, "--into", loss.cluster.conninfo(dbname="shop"))
    assert ask(loss.cluster, ORDERS, "shop") == loss.before
    assert not done["is_whole_cluster"]
    assert done["tables"] == ["sales.orders"]
    error = refused(stack, temporary, *TABLE, "--to", BEFORE_THE_LOSS, "--into", loss.cluster.conninfo(dbname="shop"))
    assert "has sales.orders already" in error["message"]
    assert ask(loss.cluster, ORDERS, "shop") == loss.before


def test_a_table_and_its_partitions_come_back_into_a_file(stack, loss, temporary, rescue):
    output = temporary.with_name("part.sql")
    tables = ("--table", 'public."Mixed Case"', "--table", "sales.orders")
    done = part(stack, temporary, "--database", "shop", *tables, "--to", BEFORE_THE_LOSS, "--output", output)
    assert output.stat().st_mode & 0o777 == 0o600
    assert done["size_bytes"] == output.stat().st_size
    assert set(done["tables"]) == {"sales.orders", "public.Mixed Case", "public.part_1", "public.part_2"}
    psql = loss.cluster.binaries.program("psql")
    sql(loss.cluster, "CREATE SCHEMA sales", dbname="rescue")
    subprocess.run([psql, "-d", rescue, "-q", "-v", "ON_ERROR_STOP=1", "-f", output], check=True, capture_output=True)
    assert ask(loss.cluster, ORDERS, "rescue") == loss.before
    assert ask(loss.cluster, 'SELECT count(*) FROM "Mixed Case"', "rescue") == 301
    assert "is there already" in refused(stack, temporary, *tables, "--database", "shop", "--output", output)["message"]


@pytest.mark.parametrize(
    ("database", "column"), [pytest.param("later", "one", marks=pytest.mark.slow), ("again", "two")]
)
def test_a_database_made_after_the_snapshot_comes_back_too(stack, loss, temporary, rescue, database, column):
    """It was copied from a template, or takes the name of one that the snapshot has: then all is restored."""
    part(stack, temporary, "--database", database, "--to", "latest", "--into", rescue)
    assert ask(loss.cluster, f"SELECT {column} FROM young", "rescue")


def test_what_is_unknown_is_told_with_what_is_near(stack, temporary):
    file = ("--output", temporary.with_name("never.sql"))
    assert refused(stack, temporary, "--database", "shp", *file)["hint"] == "did you mean shop?"
    error = refused(stack, temporary, "--database", "shop", "--table", "order", *file)
    assert "sales.orders" in error["hint"]
    assert "--to names another instant" in error["hint"]
    error = refused(stack, temporary, "--table", "orders", *file)
    assert ("as there are several" in error["message"], "shop" in error["hint"]) == (True, True)
    assert not temporary.with_name("never.sql").exists()


@pytest.mark.slow
def test_a_database_that_the_target_does_not_have_either_is_told(stack, temporary, shared_directory):
    file = ("--output", shared_directory / "never.sql")
    error = refused(stack, temporary, "--database", "shp", "--to", "latest", *file)
    assert "shop" in error["hint"]


def test_where_it_goes_is_asked_before_anything_is_done(stack, loss, temporary, shared_directory):
    assert "--into URL or --output FILE" in refused(stack, temporary, *TABLE)["message"]
    both = ("--into", loss.cluster.conninfo(), "--output", shared_directory / "f")
    assert "--into URL or --output FILE" in refused(stack, temporary, *TABLE, *both)["message"]
    nobody = f"host={shared_directory} dbname=shop"
    assert "cannot connect" in refused(stack, temporary, *TABLE, "--into", nobody, code=1)["message"]
    nowhere = shared_directory / "no" / "where"
    assert "cannot write" in refused(stack, temporary, *TABLE, "--output", nowhere)["message"]
    closed = shared_directory / "closed"
    closed.mkdir(0o700)
    if os.geteuid() == 0:
        assert "cannot get into" in refused(stack, closed, *TABLE, "--output", shared_directory / "f")["message"]


def test_a_schema_that_is_missing_is_told(stack, temporary, rescue):
    error = refused(stack, temporary, *TABLE, "--into", rescue)
    assert ("no schema sales" in error["message"], "CREATE SCHEMA" in error["hint"]) == (True, True)


def test_what_a_table_refers_to_and_is_missing_is_told_with_what_to_do(stack, loss, temporary, rescue):
    error = refused(stack, temporary, "--database", "shop", "--table", "feeling", "--into", rescue, code=1)
    assert 'type "public.mood" does not exist' in error["message"]
    assert "nothing was loaded; make there what is missing" in error["hint"]
    assert ask(loss.cluster, "SELECT to_regclass('feeling')", "rescue") is None


def test_a_dry_run_leaves_nothing(stack, temporary, shared_directory):
    arguments = (*TABLE, "--output", shared_directory / "f", "--dry-run")
    plan = stack.succeed("restore", "db", *arguments, TMPDIR=str(temporary)).message("part_plan")
    validator("part_plan").validate(plan)
    assert (plan["database"], plan["asked_tables"], plan["is_whole_cluster"]) == ("shop", ["sales.orders"], False)
    assert any("large objects do not come along" in note for note in plan["notes"])
    assert list(temporary.iterdir()) == []
    assert not (shared_directory / "f").exists()


def test_large_objects_come_along_in_the_file_of_a_whole_database_and_nowhere_else(stack, loss, temporary, rescue):
    output = temporary.with_name("whole.sql")
    assert part(stack, temporary, "--database", "shop", "--output", output)["notes"] == []
    assert "lo_create('4711')" in output.read_text()
    (note,) = part(stack, temporary, "--database", "shop", "--into", rescue)["notes"]
    assert "holdfast restore db --database shop --output FILE" in note
    assert ask(loss.cluster, "SELECT count(*) FROM pg_largeobject_metadata", "rescue") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_it_removes_everything(stack, temporary, number):
    output = temporary.with_name("part.sql")
    child = stack.start("restore", "db", *TABLE, "--to", BEFORE_THE_LOSS, "--output", output, TMPDIR=str(temporary))
    wait_until(lambda: list(temporary.glob("*/data/postmaster.pid")))
    child.send_signal(number)
    assert finish(child).code == 130
    assert list(temporary.iterdir()) == []
    assert not output.exists()
    assert _servers_in(temporary) == []


def test_killed_its_cluster_is_removed_by_the_next_run(stack, temporary):
    output = temporary.with_name("part.sql")
    to_there = ("restore", "db", *TABLE, "--to", BEFORE_THE_LOSS, "--output", output)
    # there the server wants nothing of us any more: before, it ends by itself, sooner or later
    run = stack.run(*to_there, TMPDIR=str(temporary), HOLDFAST_CRASH_POINT=CrashPoint.RECOVERY_REACHED)
    assert run.code == -signal.SIGKILL, str(run)
    (left,) = temporary.iterdir()
    assert _servers_in(temporary)
    os.utime(left, (0, 0))
    output.unlink()
    part(stack, temporary, *TABLE, "--output", output)
    assert _servers_in(temporary) == []


def _servers_in(directory):
    found = subprocess.run(["pgrep", "-f", str(directory)], capture_output=True, text=True, check=False)
    return found.stdout.split()
