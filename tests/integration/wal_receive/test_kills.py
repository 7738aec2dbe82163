"""SIGKILL at each crash point of the receiver: the next run finishes, and nothing that was reported is missing."""

import signal

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import finish, wait_until
from tests.integration.wal_receive.receiving import require_same_wal, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.integration.wal_receive.test_timelines import SETTINGS, make_standby, promote
from tests.servers.postgres import postgres_binaries

from holdfast.crashpoint import CrashPoint
from holdfast.wal.names import WalFileKind

POINTS = [point for point in CrashPoint if point.value.startswith("receive.")]
WITH_A_HISTORY = CrashPoint.RECEIVE_HISTORY_STORED


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(postgres_binaries(15), settings={"autovacuum": "off", "wal_keep_size": "1GB"})


def work(cluster):
    """Fill two segments in small steps."""
    for _ in range(4):
        sql(cluster, FILL.format(1), FILL.format(9))


def die(receiving, point, act, go_on=lambda: None):
    child = receiving.start("--create-slot", HOLDFAST_CRASH_POINT=point)
    wait_until(lambda: child.poll() is not None or receiving.streams(child))
    act()
    wait_until(lambda: child.poll() is not None or go_on())
    run = finish(child)
    assert run.code == -signal.SIGKILL, f"{point} was not reached: {run}"


@pytest.mark.parametrize("point", [point for point in POINTS if point != WITH_A_HISTORY])
def test_the_next_run_finishes(cluster, make_receiving, point):
    receiving = make_receiving(cluster, piece_interval="0.1s")
    die(receiving, point, lambda: work(cluster), lambda: sql(cluster, FILL.format(1)))
    child = receiving.start_streaming("--create-slot")
    work(cluster)
    until = wait_until_stored(receiving, cluster)
    assert receiving.stop(child).code == 0
    assert require_same_wal(receiving, cluster, until) >= 4
    # a later run repairs what this one left undone: no piece of a whole segment stays
    receiving.stop(receiving.start_streaming())
    whole = set(receiving.names(WalFileKind.SEGMENT))
    wait_until(lambda: not {name[:24] for name in receiving.names(WalFileKind.PIECE)} & whole)
    assert not receiving.names(WalFileKind.CONFLICT)
    assert receiving.state.lost_wal == []


def test_the_next_run_finishes_after_a_history_file(make_cluster, make_receiving):
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    standby = make_standby(make_cluster, primary)
    receiving = make_receiving(standby)
    die(receiving, WITH_A_HISTORY, lambda: promote(standby))
    child = receiving.start_streaming()
    sql(standby, FILL.format(20))
    until = wait_until_stored(receiving, standby)
    assert receiving.stop(child).code == 0
    assert require_same_wal(receiving, standby, until) >= 2
    assert receiving.names(WalFileKind.HISTORY) == ["00000002.history"]
