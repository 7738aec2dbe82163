"""A synchronous standby that is no standby: when COMMIT returns, the row is in the repository."""

import os
import shutil
import signal

from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.wal_receive.receiving import SLOT
from tests.servers.load import Ledger, compare
from tests.servers.majors import on_majors
from tests.servers.postgres import account, postgres_binaries

from holdfast import clock
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.segment import parse_segment_name
from holdfast.wal.names import WalFileKind

SETTINGS = {"synchronous_standby_names": f"FIRST 1 ({SLOT})", "synchronous_commit": "local", "autovacuum": "off"}


def own(directory):
    for root, directories, files in os.walk(directory):
        for entry in (root, *(os.path.join(root, each) for each in directories + files)):
            os.chown(entry, account().uid, account().gid)


def cold_copy(cluster, directory):
    """Copy a cluster while it is stopped, and start it again."""
    cluster.stop()
    shutil.copytree(cluster.data_directory, directory)
    cluster.start()
    return directory


def recovered(factory, cluster, base, receiving):
    """Recover a copy with nothing but what is in the archive."""
    wal = base.with_name("wal")
    wal.mkdir()
    for name in {file.name[:24] for file in receiving.archive.list() if file.kind is not WalFileKind.HISTORY}:
        (wal / name).write_bytes(receiving.wal(parse_segment_name(name, 16 << 20)))
    shutil.rmtree(base / "pg_wal")
    (base / "pg_wal").mkdir()
    (base / "recovery.signal").touch()
    add_settings(
        base / "postgresql.conf",
        {"restore_command": f"cp {wal}/%f %p", "synchronous_standby_names": "", "recovery_target_timeline": "current"},
    )
    own(base)
    own(wal)
    restored = factory.adopt(LocalCluster(cluster.binaries, base, account=account()))
    wait_until(lambda: not ask(restored, "SELECT pg_is_in_recovery()"))
    return restored


@on_majors(15, 18)
def test_a_committed_row_is_in_the_repository_when_commit_returns(binaries, make_cluster, make_receiving):
    cluster = make_cluster(binaries, settings=SETTINGS)
    sql(cluster, "CREATE TABLE ledger (id bigint PRIMARY KEY, payload text NOT NULL)")
    receiving = make_receiving(cluster, piece_interval="1h")
    base = cold_copy(cluster, make_cluster.directory / "base")
    child = receiving.start_streaming("--create-slot")
    wait_until(lambda: ask(cluster, "SELECT sync_state FROM pg_stat_replication") == "sync")
    assert receiving.state.is_synchronous
    ledger = Ledger(cluster.conninfo() + " options='-c synchronous_commit=on'", writers=4)
    ledger.start()
    ledger.wait_for(300)
    kill(child)  # first the receiver: from now on no commit may be acknowledged
    known = sum(len(commit.ids) for commit in ledger.commits())
    clock.sleep(0.5)
    assert sum(len(commit.ids) for commit in ledger.commits()) - known <= 4 * 5
    os.kill(cluster.pid, signal.SIGKILL)
    ledger.stop()
    restored = recovered(make_cluster, cluster, base, receiving)
    comparison = compare(restored.conninfo(), ledger.commits())
    assert comparison.is_exact, comparison
    assert comparison.rows >= 300


def test_group_commit_keeps_commits_quick(make_cluster, make_receiving):
    cluster = make_cluster(postgres_binaries(15), settings=SETTINGS)
    receiving = make_receiving(cluster, piece_interval="1h")
    receiving.start_streaming("--create-slot")
    wait_until(lambda: ask(cluster, "SELECT sync_state FROM pg_stat_replication") == "sync")
    ledger = Ledger(cluster.conninfo() + " options='-c synchronous_commit=on'", writers=8)
    with ledger:
        ledger.wait_for(500)
    wait_until(lambda: len(receiving.names(WalFileKind.PIECE)) <= 40)
