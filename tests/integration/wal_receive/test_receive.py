"""WAL comes in as it is written, is durable when the server hears of it, and is the server's own to the byte."""

import signal

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.wal_receive.receiving import (
    SLOT,
    current,
    flushed,
    require_same_wal,
    wait_until_stored,
)
from tests.servers.load import Ledger
from tests.servers.majors import on_majors
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.local import StopMode
from holdfast.wal.names import WalFileKind

SMALL = {"autovacuum": "off"}
FILL = "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000000)) FROM generate_series(1, {})"


@on_majors(15, 18)
def test_what_is_written_is_archived_to_the_byte(binaries, make_cluster, make_receiving):
    cluster = make_cluster(binaries, settings=SMALL)
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(200)
    sql(cluster, FILL.format(40))
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert require_same_wal(receiving, cluster, until) >= 3
    whole, pieces = receiving.names(WalFileKind.SEGMENT), receiving.names(WalFileKind.PIECE)
    assert len(whole) >= 2
    wait_until(lambda: {name[:24] for name in receiving.names(WalFileKind.PIECE)} <= {current(cluster)[0].name})
    assert len(pieces) < 40
    assert run.message("wal_received")["stored_lsn"] == run.message("wal_received")["received_lsn"]


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(postgres_binaries(15), settings=SMALL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_signal_stores_what_came_in_tells_the_server_and_ends(cluster, make_receiving, number, code):
    receiving = make_receiving(cluster, piece_interval="1h")
    child = receiving.start_streaming("--create-slot")
    wait_until_stored(receiving, cluster)
    sql(cluster, "CREATE TABLE t AS SELECT 1")
    position = flushed(cluster)
    wait_until(lambda: ask(cluster, f"SELECT sent_lsn >= '{position}' FROM pg_stat_replication"))
    run = kill(child, number)
    assert run.code == code, str(run)
    assert ask(cluster, f"SELECT restart_lsn >= '{position}' FROM pg_replication_slots")
    assert require_same_wal(receiving, cluster, position) == 1
    assert receiving.state.activity == "ended"


def test_the_next_run_goes_on_where_a_killed_one_ended(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(20))
    wait_until_stored(receiving, cluster)
    kill(child)
    sql(cluster, FILL.format(20))
    child = receiving.start_streaming()
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    began = next(m["text"] for m in run.messages if m["message_type"] == "notice")
    assert "receiving from 0/2000000" in began
    assert require_same_wal(receiving, cluster, until) >= 3
    assert not receiving.names(WalFileKind.CONFLICT)


def test_the_server_restarts(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(3))
    cluster.stop()  # waits until the receiver has stored the very last record
    cluster.start()
    wait_until(lambda: receiving.streams(child))
    sql(cluster, FILL.format(3))
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert require_same_wal(receiving, cluster, until) >= 1


def test_fault_07_the_server_crashes_in_the_middle_of_its_work(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(500)
        cluster.stop(StopMode.IMMEDIATE)
    cluster.start()
    wait_until(lambda: receiving.streams(child))
    until = wait_until_stored(receiving, cluster)
    assert receiving.stop(child).code == 0
    assert require_same_wal(receiving, cluster, until) >= 1


def test_the_state_tells_what_is_stored(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    sql(cluster, "CREATE TABLE t AS SELECT 1")
    position = wait_until_stored(receiving, cluster)
    wait_until(lambda: receiving.state.stored_lsn and receiving.state.stored_lsn == receiving.state.received_lsn)
    state = receiving.state
    assert (state.service, state.slot, state.pid, state.timeline) == ("db", SLOT, child.pid, 1)
    assert state.last_message
    assert state.last_stored
    assert state.last_error is None
    assert not state.is_synchronous
    assert state.stored_lsn >= str(position)
    assert state.system_identifier == ask(cluster, "SELECT system_identifier::text FROM pg_control_system()")


def test_push_and_receive_at_once_make_one_object(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(10))
    wait_until_stored(receiving, cluster)
    segment, _ = current(cluster)
    sql(cluster, "SELECT pg_switch_wal()")
    receiving.archive.push(segment.name, (cluster.data_directory / "pg_wal" / segment.name).read_bytes())
    sql(cluster, FILL.format(2))
    wait_until_stored(receiving, cluster)
    assert receiving.stop(child).code == 0
    assert receiving.names(WalFileKind.SEGMENT).count(segment.name) == 1
    assert not receiving.names(WalFileKind.CONFLICT)


def test_fault_01_other_bytes_under_a_taken_name_are_refused(cluster, make_receiving):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(2))
    wait_until_stored(receiving, cluster)
    segment, _ = current(cluster)
    receiving.archive.push(segment.name, bytes(16 << 20))
    position = flushed(cluster)
    sql(cluster, "SELECT pg_switch_wal()", "CREATE TABLE t AS SELECT 1")
    wait_until(lambda: child.poll() is not None)
    run = kill(child)
    assert (run.code, run.error["error"]) == (14, "WalConflictError")
    assert len(receiving.names(WalFileKind.CONFLICT)) == 1
    assert "other bytes" in receiving.state.last_error
    assert ask(cluster, f"SELECT restart_lsn <= '{position}' FROM pg_replication_slots")
