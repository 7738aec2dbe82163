"""Replication over TCP without TLS, and from servers that are impatient: nothing of it depends on a local socket."""

import socket
import time

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, start_restored
from tests.integration.backup_restore.stack import At, StackDirectory
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.base_backup_socket import SocketChannel
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster


@pytest.fixture
def reachable(shared_directory):
    """A server on a free port of 127.0.0.1 that knows no TLS; (cluster, connection string)."""
    hba = shared_directory / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n")
    account().take_over(hba)
    binaries = postgres_binaries(15)
    create_cluster(binaries, shared_directory / "data", ClusterOptions(settings={"autovacuum": "off"}), account())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "hba_file": str(hba), "ssl": "off"}
    with LocalCluster(binaries, shared_directory / "data", settings=settings) as cluster:
        yield cluster, f"host=127.0.0.1 port={port} user=postgres dbname=postgres"


@pytest.mark.parametrize("mode", ["prefer", "disable"])
def test_files_and_wal_come_over_tcp_without_tls(
    mode, reachable, make_cluster, shared_directory, tmp_path, monkeypatch
):
    cluster, conninfo = reachable
    read, counts = SocketChannel.read, []
    monkeypatch.setattr(SocketChannel, "read", lambda self, buffer: counts.append(read(self, buffer)) or counts[-1])
    stack = StackDirectory(tmp_path, {"db": f"{conninfo} sslmode={mode}"}, service={"method": "replication"})
    stack.succeed("init")
    stack.back_up_here(At("", lambda: None))
    assert sum(counts) > 20 << 20
    stack.service.clear()
    stack.write()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    cluster.stop()
    assert ask(start_restored(make_cluster, cluster, target), "SELECT count(*) > 0 FROM pg_class")
    stack.check()


@pytest.mark.parametrize("phase", ["starting the backup", "copying files"])
def test_a_server_that_soon_gives_clients_up_is_backed_up(phase, make_cluster, make_stack):
    """Operators of servers set such times: 5 s for standbys are usual; sessions at rest are ended after minutes."""
    impatient = {"wal_sender_timeout": "1s", "idle_session_timeout": "1s", "autovacuum": "off"}
    cluster = make_cluster(postgres_binaries(15), settings=impatient)
    stack = make_stack(cluster)
    stack.back_up_here(At(phase, lambda: ask(cluster, "SELECT pg_sleep(2.5)")))
    stack.check()


def test_missing_access_rule_is_shown_with_the_address_that_it_is_for(reachable, shared_directory, tmp_path):
    _, conninfo = reachable
    (shared_directory / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
    stack = StackDirectory(tmp_path, {"db": conninfo}, service={"method": "replication"})
    stack.succeed("init")
    run = stack.run("backup", "db")
    assert run.error["hint"].endswith('host  replication  "postgres"  127.0.0.1/32  scram-sha-256')


def test_times_that_servers_set_for_statements_do_not_end_a_backup(make_cluster, make_stack):
    times = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
    cluster = make_cluster(postgres_binaries(18), settings=dict.fromkeys(times, "500ms"))
    stack = make_stack(cluster)
    stack.back_up_here(At("copying files", lambda: time.sleep(1)))
    stack.check()
