"""While the repository is away the database works on, nothing is reported as stored, and nothing is missing later."""

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.integration.wal_receive.receiving import SLOT, Receiving, require_same_wal, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.postgres import postgres_binaries

from holdfast.wal import follow


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})


@pytest.fixture
def receiving(cluster, tmp_path):
    spool = tmp_path / "spool"
    stack = StackDirectory(
        tmp_path / "stack",
        {"db": cluster.conninfo()},
        repository={"retry_deadline": "1s"},
        service={"wal": {"spool": str(spool)}},
    )
    stack.succeed("init")
    receiving = Receiving(stack, spool)
    yield receiving
    receiving.close()


def restart_position(cluster):
    return ask(cluster, f"SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = '{SLOT}'")


def test_the_repository_goes_away_and_comes_back(cluster, receiving):
    child = receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(5))
    before = wait_until_stored(receiving, cluster)
    away = receiving.stack.place.with_name("away")
    receiving.stack.place.rename(away)
    sql(cluster, FILL.format(40))
    wait_until(lambda: receiving.state.last_error is not None)
    assert restart_position(cluster) == str(before)
    away.rename(receiving.stack.place)
    until = wait_until_stored(receiving, cluster)
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert require_same_wal(receiving, cluster, until) >= 3
    assert any("trying again" in message.get("text", "") for message in run.messages)


def test_the_server_can_stop_while_the_repository_is_away(cluster, receiving):
    receiving.start_streaming("--create-slot")
    sql(cluster, FILL.format(5))
    wait_until_stored(receiving, cluster)
    receiving.stack.place.rename(receiving.stack.place.with_name("away"))
    sql(cluster, FILL.format(5))
    cluster.stop(timeout_s=follow.STUCK_AFTER_S + 60)  # it is killed then, which is an error
