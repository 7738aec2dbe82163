"""WAL that nobody has any more is said, remembered, and does not stop what comes after it from being kept."""

import signal
from concurrent.futures import ThreadPoolExecutor

from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.wal_receive.receiving import SLOT, require_same_wal, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.majors import on_majors
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.segment import parse_segment_name, segment_at
from holdfast.postgres.timeline import Timeline
from holdfast.wal.names import WalFileKind

SEGMENT_BYTES = 16 << 20

SMALL_KEEP = {
    "autovacuum": "off",
    "max_slot_wal_keep_size": "16MB",
    "max_wal_size": "32MB",
    "min_wal_size": "32MB",
    "wal_keep_size": "0",
}


def fall_behind(cluster):
    """Write so much that the slot's WAL is removed."""
    for _ in range(6):
        sql(cluster, FILL.format(20), "CHECKPOINT")
    wait_until(lambda: ask(cluster, "SELECT wal_status FROM pg_replication_slots") == "lost")


def received_before(cluster, receiving):
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(3))
    wait_until_stored(receiving, cluster)
    receiving.stop(child)


@on_majors(15, 18)
def test_an_invalidated_slot_is_told_and_made_anew_on_request(binaries, make_cluster, make_receiving):
    cluster = make_cluster(binaries, settings=SMALL_KEEP)
    receiving = make_receiving(cluster)
    received_before(cluster, receiving)
    fall_behind(cluster)
    child = receiving.start()
    wait_until(lambda: child.poll() is not None)
    run = kill(child)
    assert (run.code, "--create-slot" in run.error["hint"]) == (1, True), str(run)
    assert receiving.state.last_error == run.error["message"]

    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(3))
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    warnings = " ".join(message["text"] for message in run.messages if message["message_type"] == "warning")
    assert "is made anew" in warnings
    assert "already been removed" in warnings
    assert "take a new base backup" in warnings
    assert require_same_wal(receiving, cluster, until) >= 1
    (lost,) = receiving.state.lost_wal
    assert lost.first == "000000010000000000000001"
    assert lost.first < lost.last
    # what is lost stays known to later runs
    receiving.stop(receiving.start_streaming())
    assert receiving.state.lost_wal == [lost]


def test_fault_06_a_dropped_slot_with_nothing_missed_costs_nothing(make_cluster, make_receiving):
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off", "wal_keep_size": "1GB"})
    receiving = make_receiving(cluster)
    received_before(cluster, receiving)
    sql(cluster, f"SELECT pg_drop_replication_slot('{SLOT}')", FILL.format(40))
    child = receiving.start_streaming("--create-slot")
    until = wait_until_stored(receiving, cluster)
    receiving.stop(child)
    assert require_same_wal(receiving, cluster, until) >= 3
    assert receiving.state.lost_wal == []
    assert min(file.name for file in receiving.archive.list()).startswith("000000010000000000000001")


def test_an_invalidation_while_streaming(make_cluster, make_receiving):
    """A receiver on a machine that was suspended comes back to a server that has taken its slot away.

    The server goes on writing more than the slot may hold back: it may take the slot away a second time.
    """
    cluster = make_cluster(postgres_binaries(18), settings=SMALL_KEEP)
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    wait_until_stored(receiving, cluster)
    child.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:  # a checkpoint waits until the receiver has taken note
        writing = pool.submit(sql, cluster, *[FILL.format(20), "CHECKPOINT"] * 6)
        wait_until(lambda: "to release replication slot" in cluster.log())
        child.send_signal(signal.SIGCONT)
        writing.result()
    sql(cluster, FILL.format(3))
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert require_same_wal(receiving, cluster, until) >= 1
    assert 1 <= len(receiving.state.lost_wal) <= cluster.log().count("invalidating obsolete replication slot")
    require_each_stored_or_lost(receiving, until)


def require_each_stored_or_lost(receiving, until):
    """Hold every segment to be in the archive or known to be lost, and none that is whole to be called lost."""
    lost = {
        number
        for each in receiving.state.lost_wal
        for number in range(_segment(each.first).number, _segment(each.last).number + 1)
    }
    whole = {_segment(name).number for name in receiving.names(WalFileKind.SEGMENT)}
    begun = {_segment(name[:24]).number for name in receiving.names(WalFileKind.PIECE)}
    written = range(1, segment_at(until, Timeline(1), SEGMENT_BYTES).number + 1)
    assert not lost & whole
    assert lost | whole | begun >= {*written}


def _segment(name):
    return parse_segment_name(name, SEGMENT_BYTES)
