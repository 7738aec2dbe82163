"""What stands in the receiver's way is said in one line, with what to do; nothing is made or lost meanwhile."""

import shutil
from pathlib import Path

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.wal_receive.receiving import SLOT, wait_until_stored
from tests.servers.majors import on_majors
from tests.servers.postgres import postgres_binaries


@pytest.fixture
def cluster(make_cluster, request):
    return make_cluster(postgres_binaries(15), settings=getattr(request, "param", {}))


def access_rules(cluster, *lines):
    """Give the server other access rules; LocalCluster's own ones trust everybody."""
    private = Path(cluster.conninfo().split()[0].removeprefix("host="))
    (private / "pg_hba.conf").write_text("\n".join([*lines, ""]))
    sql(cluster, "SELECT pg_reload_conf()")


def refused(receiving, *options):
    """Run the receiver, which ends by itself; return exit code and error."""
    child = receiving.start(*options)
    wait_until(lambda: child.poll() is not None)
    run = kill(child)
    return run.code, run.error


@on_majors(15, 18)
def test_there_is_no_slot(binaries, make_cluster, make_receiving):
    code, error = refused(make_receiving(make_cluster(binaries)))
    assert (code, f"no replication slot {SLOT}" in error["message"], "--create-slot" in error["hint"]) == (
        1,
        True,
        True,
    )


def test_the_slot_is_in_use(cluster, make_receiving):
    first = make_receiving(cluster)
    child = first.start_streaming("--create-slot")
    code, error = refused(make_receiving(cluster))
    assert (code, "is active for PID" in error["message"], "slot of its own" in error["hint"]) == (11, True, True)
    assert first.streams(child)


def test_the_slot_is_dropped_on_request(cluster, make_receiving):
    receiving = make_receiving(cluster)
    receiving.stop(receiving.start_streaming("--create-slot"))
    run = receiving.stack.succeed("wal", "receive", "db", "--drop-slot")
    assert run.message("slot_dropped")["slot"] == SLOT
    assert ask(cluster, "SELECT count(*) FROM pg_replication_slots") == 0
    assert "slot" not in [each["kind"] for each in receiving.stack.run("wal", "status").message("wal_status")["alerts"]]
    again = receiving.stack.run("wal", "receive", "db", "--drop-slot")
    assert (again.code, "does not exist" in again.error["message"]) == (1, True)
    assert again.error["hint"] == "nothing is left to do"
    both = receiving.stack.run("wal", "receive", "db", "--drop-slot", "--create-slot")
    assert (both.code, "exclude" in both.error["message"]) == (2, True)


def test_a_slot_of_another_kind_is_refused(make_cluster, make_receiving):
    cluster = make_cluster(postgres_binaries(15), settings={"wal_level": "logical"})
    sql(cluster, f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    code, error = refused(make_receiving(cluster))
    assert (code, "logical" in error["message"]) == (1, True)


@pytest.mark.parametrize("major", [15, 17])
def test_a_role_without_replication_is_told_the_statement(make_cluster, make_receiving, major):
    cluster = make_cluster(postgres_binaries(major))
    sql(cluster, "CREATE ROLE weak LOGIN")
    code, error = refused(make_receiving(cluster, cluster.conninfo(user="weak")), "--create-slot")
    assert (code, error["hint"]) == (1, 'as a superuser: ALTER ROLE "weak" REPLICATION')


def test_the_replication_privilege_is_all_that_is_needed(cluster, make_receiving):
    sql(cluster, "CREATE ROLE courier LOGIN REPLICATION")
    access_rules(cluster, "local all postgres trust", "local replication courier trust")
    receiving = make_receiving(cluster, cluster.conninfo(user="courier"))
    assert receiving.stop(receiving.start_streaming("--create-slot")).code == 0


def test_missing_access_is_told_as_the_line_to_add(cluster, make_receiving):
    sql(cluster, "CREATE ROLE courier LOGIN REPLICATION")
    access_rules(cluster, "local all all trust")
    code, error = refused(make_receiving(cluster, cluster.conninfo(user="courier")), "--create-slot")
    assert code == 1
    line = error["hint"].partition("): ")[2]
    assert line == 'local  replication  "courier"  peer'
    access_rules(cluster, "local all all trust", line.replace("peer", "trust"))
    receiving = make_receiving(cluster, cluster.conninfo(user="courier"))
    assert receiving.stop(receiving.start_streaming("--create-slot")).code == 0


@pytest.mark.parametrize("cluster", [{"max_wal_senders": "1"}], indirect=True)
def test_used_up_senders_are_told(cluster, make_receiving):
    with psycopg.connect(cluster.conninfo() + " replication=true", autocommit=True):
        code, error = refused(make_receiving(cluster), "--create-slot")
    assert (code, "no WAL sender left" in error["message"]) == (11, True)
    assert "raise max_wal_senders" in error["hint"]


@pytest.mark.parametrize("cluster", [{"max_replication_slots": "1"}], indirect=True)
def test_used_up_slots_are_told(cluster, make_receiving):
    sql(cluster, "SELECT pg_create_physical_replication_slot('other')")
    code, error = refused(make_receiving(cluster), "--create-slot")
    assert (code, "raise max_replication_slots" in error["hint"]) == (1, True)


def test_fault_04_another_cluster_under_the_same_service_is_refused(cluster, make_cluster, make_receiving):
    receiving = make_receiving(cluster)
    receiving.stop(receiving.start_streaming("--create-slot"))
    other = make_cluster(postgres_binaries(15), "other")
    receiving.stack.connections = {"db": other.conninfo()}
    receiving.stack.write()
    code, error = refused(receiving, "--create-slot")
    assert (code, "another cluster" in error["message"]) == (14, True)
    assert ask(other, "SELECT count(*) FROM pg_replication_slots") == 0


def test_fault_01_nothing_is_received_behind_a_segment_that_another_server_archived(make_cluster, make_receiving):
    """Both have one past; what this one wrote since is not what the archive goes on with."""
    cluster = make_cluster(postgres_binaries(15), wal_segment_size_bytes=1 << 20)
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    wait_until_stored(receiving, cluster)
    receiving.stop(child)
    sql(cluster, "CREATE TABLE item AS SELECT 1 AS n")
    name = ask(cluster, "SELECT pg_walfile_name(pg_switch_wal())")
    other = bytearray((cluster.data_directory / "pg_wal" / name).read_bytes())
    other[-100] ^= 1
    receiving.archive.push(name, other)
    sql(cluster, "CREATE TABLE more AS SELECT 1 AS n", "SELECT pg_switch_wal()")
    for _ in range(2):  # who started it starts it again
        code, error = refused(receiving)
        assert (code, "other bytes" in error["message"]) == (14, True)
    assert [file.name for file in receiving.archive.list() if file.segment_name > name] == []


def test_a_spool_that_cannot_be_made_is_said(cluster, make_receiving, tmp_path):
    (tmp_path / "file").touch()
    receiving = make_receiving(cluster)
    receiving.stack.service["wal"]["spool"] = str(tmp_path / "file" / "spool")
    receiving.stack.write()
    code, error = refused(receiving, "--create-slot")
    assert (code, "cannot make" in error["message"], "spool" in error["hint"]) == (1, True, True)


def test_a_spool_that_is_gone_meanwhile_is_said_and_keeps_nothing_from_being_received(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    shutil.rmtree(receiving.spool)
    for number in range(3):  # over more seconds than the state takes to be written again
        sql(cluster, f"CREATE TABLE item_{number} AS SELECT 1 AS n", "SELECT pg_sleep(1)")
    wait_until_stored(receiving, cluster)
    receiving.spool.mkdir()
    wait_until(lambda: receiving.streams(child))
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert ["received all the same" in message["text"] for message in run.messages if "warn" in str(message)] == [True]


def test_fault_37_a_restored_cluster_is_not_received_until_it_is_adopted(cluster, make_receiving):
    marker = cluster.data_directory / "holdfast-restore.json"
    marker.write_text("{}")
    receiving = make_receiving(cluster)
    child = receiving.start("--create-slot")
    wait_until(lambda: receiving.state is not None and "was restored" in (receiving.state.last_error or ""))
    assert ask(cluster, "SELECT count(*) FROM pg_replication_slots") == 0
    marker.write_text('{"adopted": "2026-11-21T12:00:00+00:00"}')
    wait_until(lambda: receiving.streams(child))
    receiving.stop(child)
