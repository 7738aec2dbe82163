"""A server as a backup needs it: facts, the frame of a backup, held WAL, timelines, and errors that say what to do."""

import socket
import subprocess
import traceback
from datetime import timedelta

import psycopg
import pytest
from tests.servers.majors import on_majors
from tests.servers.postgres import account, postgres_binaries

from holdfast import clock
from holdfast.errors import HoldfastError, ServerError, ServerUnreachableError, UsageError
from holdfast.postgres.archiving import ask_archiving
from holdfast.postgres.control import read_control_file
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.segment import segment_at
from holdfast.postgres.server import Server
from holdfast.postgres.timeline import Timeline


def run(cluster, *statements):
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def make_standby(factory, primary, name="standby"):
    """Copy a stopped primary and start the copy as its standby."""
    primary.stop()
    directory = factory.directory / name
    subprocess.run(["cp", "-a", primary.data_directory, directory], check=True)
    (directory / "standby.signal").touch()
    primary.start()
    add_settings(directory / "postgresql.conf", {"primary_conninfo": primary.conninfo(), "hot_standby": "on"})
    return factory.adopt(LocalCluster(primary.binaries, directory, account=account()))


def wait_until(condition):
    deadline = clock.monotonic() + 90
    while not condition():
        assert clock.monotonic() < deadline, "waited in vain"
        clock.sleep(0.05)


def test_probe_agrees_with_the_control_file_and_the_truth(binaries, make_cluster, shared_directory):
    place = shared_directory / "größe"
    place.mkdir()
    account().take_over(place)
    cluster = make_cluster(binaries, wal_segment_size_bytes=2**22)
    run(
        cluster,
        f"CREATE TABLESPACE elsewhere LOCATION '{place}'",
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE inside LOCATION ''",
        'CREATE DATABASE "Geschäft"',
    )
    with Server.connect(cluster.conninfo()) as server:
        facts = server.probe()
        assert server.missing_privileges() == ()
        assert not server.is_in_recovery()
    control = read_control_file(cluster.data_directory)
    assert facts.system_identifier == control.system_identifier
    assert (facts.timeline, facts.has_data_checksums) == (control.timeline, True)
    assert (facts.block_size, facts.wal_block_size) == (control.block_size, control.wal_block_size)
    assert (facts.wal_segment_size, control.wal_segment_size) == (2**22, 2**22)
    assert facts.relation_segment_blocks == control.relation_segment_blocks
    assert (facts.major, facts.version_number // 10000) == (binaries.major, binaries.major)
    assert facts.data_directory == str(cluster.data_directory)
    assert (facts.wal_level, facts.archive_mode, facts.is_standby) == ("replica", "off", False)
    assert (facts.max_wal_senders, facts.encoding) == (10, "UTF8")
    assert abs(facts.server_time - clock.now()) < timedelta(seconds=20)
    assert [(t.name, t.is_in_place) for t in facts.tablespaces] == [("elsewhere", False), ("inside", True)]
    assert facts.tablespaces[0].location == str(place)
    assert facts.tablespaces[1].location == f"pg_tblspc/{facts.tablespaces[1].oid}"
    sizes = {database.name: database.size_bytes for database in facts.databases}
    assert set(sizes) == {"postgres", "template0", "template1", "Geschäft"}
    assert all(size > 2**20 for size in sizes.values())


def test_frame_of_a_backup_gives_the_label_and_the_map(binaries, make_cluster, shared_directory):
    place = shared_directory / "größe"
    place.mkdir()
    account().take_over(place)
    cluster = make_cluster(binaries)
    run(cluster, f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    with Server.connect(cluster.conninfo()) as server:
        hold = server.hold_wal()
        start = server.start_backup("näch'tlich", fast=True)
        run(cluster, "CREATE TABLE t AS SELECT generate_series(1, 1000)")
        end = server.stop_backup()
        oid = server.probe().tablespaces[0].oid
    assert hold.lsn <= start < end.lsn
    segment = segment_at(start, Timeline(1), 16 * 2**20).name
    assert end.label.decode().startswith(f"START WAL LOCATION: {start} (file {segment})\n")
    assert "LABEL: näch'tlich\n" in end.label.decode()
    assert end.tablespace_map.decode() == f"{oid} {place}\n"


@on_majors(15, 18)
def test_held_wal_survives_what_would_recycle_it(binaries, make_cluster):
    settings = {"max_wal_size": "2MB", "min_wal_size": "2MB", "wal_keep_size": "0"}
    cluster = make_cluster(binaries, wal_segment_size_bytes=2**20, settings=settings)

    def segments():
        return {path.name for path in (cluster.data_directory / "pg_wal").iterdir()}

    def churn():
        for _ in range(4):
            run(cluster, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 2000000))", "CHECKPOINT")

    with Server.connect(cluster.conninfo()) as server:
        hold = server.hold_wal()
        start = server.start_backup("held", fast=True)
        first = segment_at(start, Timeline(1), 2**20).name
        churn()
        assert first in segments()
        server.stop_backup()
        server.release_wal(hold)
        churn()
        assert first not in segments()


@on_majors(15, 18)
def test_lost_connection_frees_the_server(binaries, make_cluster):
    cluster = make_cluster(binaries)
    server = Server.connect(cluster.conninfo())
    hold = server.hold_wal()
    server.start_backup("lost", fast=True)
    run(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
    with pytest.raises(ServerError) as caught:
        server.stop_backup()
    assert caught.value.hint
    server.close()
    with psycopg.connect(cluster.conninfo()) as connection:
        wait_until(lambda: connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()[0] == 0)
    with Server.connect(cluster.conninfo()) as again:
        assert again.start_backup("again", fast=True) > hold.lsn
        again.stop_backup()


@on_majors(15, 18)
def test_settings_of_the_role_do_not_time_the_backup_out(binaries, make_cluster):
    cluster = make_cluster(binaries)
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    names += ["transaction_timeout"] if binaries.major >= 17 else []
    run(cluster, *(f"ALTER ROLE postgres SET {name} = '1s'" for name in names))
    with Server.connect(cluster.conninfo()) as server:
        server.start_backup("slow", fast=True)
        clock.sleep(1.5)
        server.stop_backup()


ODD_SETTINGS = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kolkata",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "quote_all_identifiers": "on",
}


def test_no_setting_of_the_server_changes_how_it_is_understood(make_cluster):
    """A server that shows dates as people write them in Germany could not be backed up: an internal error."""
    cluster = make_cluster(postgres_binaries(15), settings=ODD_SETTINGS)
    with Server.connect(cluster.conninfo()) as server:
        assert abs(server.probe().server_time - clock.now()) < timedelta(seconds=60)
        server.hold_wal()
        start = server.start_backup("odd", fast=True)
        assert server.stop_backup().lsn > start
    facts = ask_archiving(cluster.conninfo(), None)
    assert abs(facts.server_time - clock.now()) < timedelta(seconds=60)


def test_least_privileges_are_named_one_by_one_and_suffice_for_all_that_a_backup_needs(binaries, make_cluster):
    cluster = make_cluster(binaries)
    run(cluster, 'CREATE ROLE "back""up" LOGIN')
    with Server.connect(cluster.conninfo(user='back"up')) as server:
        for act in (server.probe, server.hold_wal, lambda: server.start_backup("x", fast=True), server.stop_backup):
            with pytest.raises(ServerError) as caught:
                act()
            assert "doctor" in caught.value.hint or "REPLICATION" in caught.value.hint
        missing = server.missing_privileges()
        assert len(missing) == 5
    run(cluster, *missing, "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    with Server.connect(cluster.conninfo(user='back"up')) as server:
        assert server.missing_privileges() == ()
        facts = server.probe()
        assert facts.data_directory == str(cluster.data_directory)
        assert all(database.size_bytes for database in facts.databases)
        assert server.current_timeline() == 1
        server.hold_wal()
        server.start_backup("least", fast=True)
        assert server.stop_backup().label
    with psycopg.connect(cluster.conninfo(user='back"up'), autocommit=True) as connection:
        role = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert role == (False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('PG_VERSION')")


@on_majors(15, 18)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_replication_slots": "1"}, "no replication slot left"),
        ({"max_replication_slots": "0"}, "not set up for replication slots"),
        ({"wal_level": "minimal", "max_wal_senders": "0"}, "not set up for replication slots"),
    ],
)
def test_wal_that_cannot_be_held_is_refused_with_a_hint(binaries, make_cluster, settings, message):
    cluster = make_cluster(binaries, settings=settings)
    with Server.connect(cluster.conninfo()) as first, Server.connect(cluster.conninfo()) as second:
        with pytest.raises(ServerError, match=message) as caught:
            first.hold_wal(), second.hold_wal()
        assert "max_replication_slots" in caught.value.hint


def test_standby_can_be_backed_up_and_promotion_is_noticed(binaries, make_cluster):
    primary = make_cluster(binaries)
    standby = make_standby(make_cluster, primary)
    with Server.connect(standby.conninfo()) as server:
        facts = server.probe()
        assert (facts.is_standby, facts.timeline) == (True, 1)
        server.hold_wal()
        start = server.start_backup("standby", fast=True)
        end = server.stop_backup()
        assert start <= end.lsn
        assert b"BACKUP FROM: standby" in end.label
        server.start_backup("promoted", fast=True)
        run(standby, "SELECT pg_promote(wait => true)")
        assert not server.is_in_recovery()
        assert server.current_timeline() == 2
        with pytest.raises(ServerError, match="promoted"):
            server.stop_backup()


def test_a_standby_of_serializable_transactions_is_read(make_cluster):
    """It refuses such transactions, and a role or a server may have them by default."""
    primary = make_cluster(postgres_binaries(15), settings={"default_transaction_isolation": "serializable"})
    standby = make_standby(make_cluster, primary)
    with Server.connect(standby.conninfo()) as server:
        assert server.probe().is_standby


def test_standby_that_follows_a_promotion_shows_the_new_timeline(binaries, make_cluster):
    primary = make_cluster(binaries)
    middle = make_standby(make_cluster, primary, "middle")
    last = make_standby(make_cluster, middle, "last")
    with Server.connect(last.conninfo()) as server:
        assert server.current_timeline() == 1
        run(middle, "SELECT pg_promote(wait => true)")
        wait_until(lambda: server.current_timeline() == 2)
        assert server.is_in_recovery()


SECRET = "hold-this-fast"


@pytest.mark.parametrize(
    ("conninfo", "error"),
    [
        (f"host=/nonexistent password={SECRET}", ServerUnreachableError),
        (f"host=127.0.0.1 port=CLOSED password={SECRET} connect_timeout=2", ServerUnreachableError),
        (f"host=LIVE user=nobody_at_all password={SECRET}", ServerError),
        (f"host=LIVE user=postgres dbname=absent password={SECRET}", ServerError),
        (f"host=x ={SECRET}", UsageError),
        (f"host=x password='{SECRET}", UsageError),
        (f"{SECRET}", UsageError),
        (f"postgres://u:{SECRET}@[::1/x", UsageError),
        (f"postgres://u:{SECRET}%zz@h/x", UsageError),
        (f"host=x passwort={SECRET}", UsageError),
    ],
)
def test_failed_connections_are_told_apart_and_never_show_the_password(make_cluster, conninfo, error):
    if "LIVE" in conninfo:
        cluster = make_cluster(postgres_binaries(15))
        conninfo = conninfo.replace("LIVE", cluster.conninfo().split()[0].removeprefix("host="))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        conninfo = conninfo.replace("CLOSED", str(closed.getsockname()[1]))
        with pytest.raises(HoldfastError) as caught:
            Server.connect(conninfo)
    assert caught.type is error
    assert caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_password_is_masked_even_where_the_server_says_it(make_cluster):
    cluster = make_cluster(postgres_binaries(15))
    with pytest.raises(ServerError) as caught:
        Server.connect(cluster.conninfo(user=SECRET) + f" password={SECRET}")
    assert SECRET not in str(caught.value)


@on_majors(15, 18)
def test_server_that_goes_away_is_unreachable(make_cluster, binaries):
    cluster = make_cluster(binaries)
    with Server.connect(cluster.conninfo()) as server:
        cluster.stop()
        with pytest.raises(ServerError) as caught:
            server.probe()
        with pytest.raises(ServerUnreachableError):
            server.is_in_recovery()
    assert caught.value.hint
