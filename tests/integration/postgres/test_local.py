"""Clusters that we run ourselves: started, stopped, failing in order, and leaving nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.servers.majors import on_majors
from tests.servers.postgres import account

from holdfast.errors import ServerError, ServerUnreachableError
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster, StopMode


def ask(cluster, query):
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        return connection.execute(query).fetchone()[0]


def test_cluster_is_made_as_asked_and_runs_privately(binaries, make_cluster):
    settings = {"max_connections": "17", "cluster_name": "it's a \\ name"}
    cluster = make_cluster(binaries, settings=settings, wal_segment_size_bytes=2**20, has_checksums=False)
    assert ask(cluster, "SELECT current_setting('server_version_num')::int / 10000") == binaries.major
    assert ask(cluster, "SHOW max_connections") == "17"
    assert ask(cluster, "SHOW cluster_name") == "it's a \\ name"
    assert ask(cluster, "SHOW wal_segment_size") == "1MB"
    assert ask(cluster, "SHOW data_checksums") == "off"
    assert ask(cluster, "SHOW listen_addresses") == ""
    assert Path(f"/proc/{cluster.pid}").stat().st_uid == account().uid
    assert os.stat(ask(cluster, "SHOW unix_socket_directories")).st_mode & 0o777 == 0o700


@on_majors(15, 18)
@pytest.mark.parametrize("mode", list(StopMode))
def test_each_way_to_stop_ends_the_server_and_it_starts_again(binaries, make_cluster, mode):
    cluster = make_cluster(binaries)
    pid = cluster.pid
    cluster.stop(mode)
    assert not cluster.is_running
    assert not Path(f"/proc/{pid}").exists()
    cluster.start()
    assert ask(cluster, "SELECT 1") == 1


@on_majors(15, 18)
def test_context_ends_the_server_and_removes_the_private_directory(binaries, shared_directory):
    create_cluster(binaries, shared_directory / "data", ClusterOptions())
    with LocalCluster(binaries, shared_directory / "data", settings={"work_mem": "7MB"}) as cluster:
        assert ask(cluster, "SHOW work_mem") == "7MB"
        private, pid = Path(ask(cluster, "SHOW unix_socket_directories")), cluster.pid
    assert not private.exists()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ServerError, match="was not started"):
        cluster.conninfo()


@on_majors(15, 18)
def test_server_killed_from_outside_is_noticed_and_starts_again(binaries, make_cluster):
    cluster = make_cluster(binaries)
    os.kill(cluster.pid, signal.SIGQUIT)
    cluster.stop()
    assert not cluster.is_running
    cluster.start()
    assert ask(cluster, "SELECT 1") == 1


def test_cluster_without_configuration_files_starts_as_on_debian(binaries, make_cluster):
    cluster = make_cluster(binaries)
    cluster.stop()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (cluster.data_directory / name).unlink()
    cluster.start()
    assert ask(cluster, "SELECT 1") == 1


@on_majors(15, 18)
def test_failure_to_start_shows_the_log_and_leaves_nothing(binaries, make_cluster, monkeypatch):
    cluster = make_cluster(binaries)
    cluster.stop()
    (cluster.data_directory / "global" / "pg_control").write_bytes(bytes(8192))
    made = []
    mkdtemp = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: made.append(mkdtemp(**options)) or made[-1])
    with pytest.raises(ServerError, match="did not start") as caught:
        LocalCluster(binaries, cluster.data_directory).start()
    assert any("FATAL" in line or "PANIC" in line for line in caught.value.details)
    assert [Path(path).exists() for path in made] == [False]


@on_majors(15, 18)
def test_server_that_is_never_ready_is_stopped(binaries, make_cluster):
    cluster = make_cluster(binaries)
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    with pytest.raises(ServerUnreachableError, match="not ready"):
        LocalCluster(binaries, cluster.data_directory, settings={"restore_command": "sleep 60"}).start(timeout_s=1)
    assert not (cluster.data_directory / "postmaster.pid").exists() or not _is_alive(cluster.data_directory)


def _is_alive(data_directory):
    return Path("/proc", (data_directory / "postmaster.pid").read_text().splitlines()[0]).exists()


@on_majors(15, 18)
def test_initdb_in_a_directory_with_files_is_refused(binaries, shared_directory):
    (shared_directory / "data").mkdir()
    (shared_directory / "data" / "file").touch()
    with pytest.raises(ServerError, match="initdb could not") as caught:
        create_cluster(binaries, shared_directory / "data", ClusterOptions())
    assert any("not empty" in line for line in caught.value.details)


@on_majors(15, 18)
def test_what_a_killed_process_left_is_removed_by_the_next_once_its_server_has_ended(
    binaries, make_cluster, shared_directory
):
    create_cluster(binaries, shared_directory / "data", ClusterOptions())
    stopped = make_cluster(binaries, "stopped")
    used = Path(ask(stopped, "SHOW unix_socket_directories"))
    stopped.stop()
    os.utime(used, (0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT, str(shared_directory / "data"), str(binaries.major)],
        stdout=subprocess.PIPE,
    )
    server, left = child.stdout.readline().decode().split()
    child.kill()
    child.communicate()
    os.utime(left, (0, 0))
    make_cluster(binaries, "next")
    assert (Path(left) / ".s.PGSQL.5432").exists()
    os.kill(int(server), signal.SIGKILL)
    wait_until(lambda: not Path("/proc", server).exists())
    make_cluster(binaries, "last")
    assert not Path(left).exists()
    assert used.exists()


_START_AND_WAIT = """
import sys, time
from pathlib import Path
from tests.servers.postgres import postgres_binaries
from holdfast.postgres.local import LocalCluster
cluster = LocalCluster(postgres_binaries(int(sys.argv[2])), Path(sys.argv[1]))
cluster.start()
print(cluster.pid, cluster.conninfo().split()[0].removeprefix("host="), flush=True)
time.sleep(600)
"""
