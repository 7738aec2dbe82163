"""Backups that are cut short: nothing is committed, the server is free, the next run reuses what was stored."""

import os
import signal

import pytest
from tests.chaos.test_crash_points import BACKUP, COMMITTED
from tests.integration.backup_restore.clusters import ask, require_free, sql
from tests.integration.backup_restore.stack import At, finish, kill, wait_until
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast import clock
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerUnreachableError

STARTED = [CrashPoint.BACKUP_STARTED, CrashPoint.SPAN_READ, CrashPoint.BACKUP_STOPPED, CrashPoint.WAL_CAPTURED]


@pytest.fixture(scope="module")
def cluster():
    """A small cluster that nothing here changes."""
    with temporary_clusters() as factory:
        yield factory(postgres_binaries(15), settings={"autovacuum": "off"})


@pytest.fixture
def noisy(make_cluster):
    """A cluster that does not compress: its backup takes several packs."""
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off", "max_wal_size": "1GB"})
    sql(
        cluster,
        "CREATE EXTENSION pgcrypto",
        "CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 160000)",
        "CHECKPOINT",
    )
    return cluster


@pytest.mark.parametrize("which", ["BASE_BACKUP", "START_REPLICATION"])
def test_lost_connection(cluster, make_stack, which):
    """The connection that sends the files is lost, or the one that sends WAL: nothing is committed, all is free."""
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '{which}%'"
    stack = make_stack(cluster)
    with pytest.raises(ServerUnreachableError) as caught:
        stack.back_up_here(At("copying files", lambda: sql(cluster, end)))
    assert caught.value.hint
    assert stack.snapshots() == []
    stack.check()
    require_free(cluster)
    stack.backup()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["BASE_BACKUP", "START_REPLICATION"])
def test_what_a_lost_backup_had_stored_is_reused(noisy, make_stack, which):
    stack = make_stack(noisy, repository={"limits": {"upload": "16MiB"}})
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    sql(noisy, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '{which}%'")
    run = finish(child)
    doing = {"BASE_BACKUP": "receiving the base backup", "START_REPLICATION": "receiving WAL"}[which]
    assert (run.code, doing in run.error["message"]) == (1, True)
    assert run.error["hint"]
    assert stack.snapshots() == []
    kept = sum(stack.packs().values())
    assert kept >= 30 << 20
    stack.repository.pop("limits", None)
    stack.write()
    stats = stack.backup()["stats"]
    assert stats["new_plain_bytes"] < stats["bytes_read"] - (25 << 20)
    stack.check()


@pytest.mark.parametrize("point", STARTED)
def test_kill(cluster, make_stack, point):
    assert {*STARTED} <= {*BACKUP} - COMMITTED
    stack = make_stack(cluster)
    run = stack.run("backup", "db", HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL, str(run)
    assert stack.snapshots() == []
    stack.check()
    require_free(cluster)
    stack.backup()
    stack.check()


@pytest.mark.slow
def test_signal_ends_a_backup_in_order(noisy, make_stack):
    stack = make_stack(noisy, repository={"limits": {"upload": "16MiB"}})
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    assert kill(child, signal.SIGINT).code == 130
    require_free(noisy)
    assert stack.snapshots() == []


def test_signal_ends_a_backup_whose_server_has_stopped_to_answer(noisy, make_stack):
    stack = make_stack(noisy, repository={"limits": {"upload": "8MiB"}})
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    sender = int(ask(noisy, "SELECT pid FROM pg_stat_replication WHERE state = 'backup'"))
    os.kill(sender, signal.SIGSTOP)
    try:
        clock.sleep(5)  # until all that had come is stored, and more is waited for
        child.send_signal(signal.SIGINT)
        child.wait(timeout=50)  # it would wait for the server for a minute
        assert finish(child).code == 130
    finally:
        os.kill(sender, signal.SIGCONT)
    require_free(noisy)
    assert stack.snapshots() == []
