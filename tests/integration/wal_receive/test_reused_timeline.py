"""Two standbys take the same number for their timelines, as neither knew of the other's promotion."""

from __future__ import annotations

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, sql
from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.wal_receive.receiving import flushed, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.local import LocalCluster
from holdfast.wal.archive import Pushed, WalConflictError

SETTINGS = {"autovacuum": "off", "wal_keep_size": "1GB"}


def slowly(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def caught_up(primary, *standbys):
    position = ask(primary, "SELECT pg_current_wal_flush_lsn()::text")
    for standby in standbys:
        wait_until(lambda standby=standby: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))


def promote(standby):
    sql(standby, "SELECT pg_promote()")
    wait_until(lambda: not ask(standby, "SELECT pg_is_in_recovery()"))


@pytest.fixture
def twins(make_cluster):
    """Two servers on timeline 2, which both left timeline 1 at the same place: their history files are the same."""
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    first = make_standby(make_cluster, primary, "first")
    second = make_standby(make_cluster, primary, "second")
    wait_until(lambda: ask(primary, "SELECT count(*) FROM pg_stat_replication") == 2)
    caught_up(primary, first, second)
    primary.stop()  # which sends them all that it writes
    for each in (first, second):
        promote(each)
    histories = {(each.data_directory / "pg_wal" / "00000002.history").read_bytes() for each in (first, second)}
    assert len(histories) == 1
    return first, second


def received_from(receiving, cluster, fill):
    """Let a receiver store what a server writes, and end it."""
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(fill))
    wait_until_stored(receiving, cluster)
    receiving.stop(child)


def turn_to(receiving, cluster):
    """Let the service be another server from now on."""
    receiving.stack.connections = {"db": cluster.conninfo()}
    receiving.stack.write()


def refused(receiving):
    """Run a receiver, which ends by itself; return its error."""
    child = receiving.start("--create-slot")
    wait_until(lambda: child.poll() is not None)
    run = kill(child)
    assert run.code == 14, str(run)
    return run.error


def conflicts(receiving):
    """The alerts that another server writes into the archive."""
    alerts = receiving.stack.run("wal", "status").message("wal_status")["alerts"]
    return [each for each in alerts if each["kind"] == "conflict"]


@pytest.mark.parametrize(("fill", "other_fill"), [(40, 20), slowly(5, 1), slowly(40, 1)])
def test_fault_01_what_a_server_writes_beside_another_ones_timeline_is_not_taken_for_stored(
    make_receiving, twins, fill, other_fill
):
    """It would be stored where no recovery reads it, and a COMMIT would hear that it is."""
    first, second = twins
    receiving = make_receiving(first)
    received_from(receiving, first, fill)
    before = {file.name for file in receiving.archive.list()}
    sql(second, FILL.format(other_fill).replace("'x'", "'y'"))
    turn_to(receiving, second)
    error = refused(receiving)
    assert "another server with the same past wrote that" in error["message"]
    assert f"{flushed(second)} only" in error["message"]
    assert "pg_promote()" in error["hint"]
    assert {file.name for file in receiving.archive.list()} == before
    assert [alert["remedy"] for alert in conflicts(receiving)] == [error["hint"]]
    turn_to(receiving, first)
    assert conflicts(receiving) == []
    received_from(receiving, first, 1)  # the right one goes on


@pytest.mark.parametrize(("fill", "other_fill"), [slowly(1, 5), slowly(20, 60)])
def test_fault_01_a_server_that_is_farther_than_another_one_of_its_timeline_is_found_out(
    make_receiving, twins, fill, other_fill
):
    first, second = twins
    receiving = make_receiving(first)
    received_from(receiving, first, fill)
    sql(second, FILL.format(other_fill).replace("'x'", "'y'"))
    turn_to(receiving, second)
    assert "the archive holds other bytes under" in refused(receiving)["message"]


def test_fault_01_of_two_servers_on_one_timeline_only_the_first_is_archived(make_receiving, twins):
    first, second = twins
    receiving = make_receiving(first)
    received_from(receiving, first, 20)
    sql(second, FILL.format(1).replace("'x'", "'y'"), "SELECT pg_switch_wal()")
    archive, wal = receiving.archive, second.data_directory / "pg_wal"
    name = "00000002.history"  # of both it is the same, and success
    assert archive.push(name, (wal / name).read_bytes()) is Pushed.ALREADY_THERE
    name = "000000020000000000000001"
    with pytest.raises(WalConflictError):
        archive.push(name, (wal / name).read_bytes())
    assert len(conflicts(receiving)) == 1


def test_fault_03_two_servers_that_took_one_number_at_different_places_are_told_by_their_histories(
    make_cluster, make_receiving
):
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    first = make_standby(make_cluster, primary, "first")
    second = make_standby(make_cluster, primary, "second")
    caught_up(primary, first, second)
    promote(first)
    sql(primary, FILL.format(1))
    caught_up(primary, second)
    promote(second)
    receiving = make_receiving(first)
    received_from(receiving, first, 1)
    turn_to(receiving, second)
    assert "the archive holds other bytes under 00000002.history" in refused(receiving)["message"]
    (alert,) = conflicts(receiving)
    assert "00000002.history" in alert["words"]


@pytest.mark.slow
def test_a_server_takes_a_timeline_of_its_own_and_is_received_again(make_receiving, twins, shared_directory):
    """What the HINT says: recovery from a backup of it works, on its own timeline."""
    first, second = twins
    receiving = make_receiving(first)
    received_from(receiving, first, 40)
    sql(second, "CREATE TABLE kept AS SELECT 1 AS id")
    turn_to(receiving, second)
    refused(receiving)
    second.stop()
    signal = second.data_directory / "standby.signal"
    signal.touch()
    account().take_over(signal)
    second.start()
    promote(second)
    child = receiving.start_streaming("--create-slot")
    assert receiving.state.timeline == 3
    receiving.stack.backup()
    sql(second, "INSERT INTO kept VALUES (2)")
    wait_until_stored(receiving, second)
    receiving.stop(child)
    target = shared_directory / "restored"
    receiving.stack.succeed("restore", "db", "--target", target, "--to", "latest")
    with LocalCluster(second.binaries, target, account=account()) as restored:
        assert ask(restored, "SELECT array_agg(id ORDER BY id) FROM kept") == [1, 2]


@pytest.mark.slow
def test_a_standby_behind_its_primary_is_received(make_cluster, make_receiving):
    """Its primary archives, too, and the standby has not got that yet."""
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    standby = make_standby(make_cluster, primary)
    receiving = make_receiving(primary)
    caught_up(primary, standby)
    sql(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    received_from(receiving, primary, 40)
    turn_to(receiving, standby)
    child = receiving.start("--create-slot")
    wait_until(lambda: child.poll() is not None or receiving.streams(child))
    assert "another server" not in str(receiving.stop(child) if child.poll() is None else kill(child))
