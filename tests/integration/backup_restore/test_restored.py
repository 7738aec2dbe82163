"""What a restore leaves behind: a directory that plain pg_ctl starts, and that harms nobody."""

import json
import os
import shutil
import stat
import subprocess

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql, start_restored
from tests.integration.backup_restore.stack import wait_until
from tests.servers.majors import on_majors
from tests.servers.postgres import account

from holdfast.errors import HoldfastError
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster


class PgCtl:
    """Plain pg_ctl: only the socket's place is given, as the tests may not use the default one."""

    def __init__(self, binaries, target):
        self.sockets = target.parent / "sockets"
        self.sockets.mkdir(exist_ok=True)
        account().take_over(self.sockets)
        self.command = [binaries.program("pg_ctl"), "-D", target, "-w", "-l", self.sockets / "log"]
        self.conninfo = f"host={self.sockets} user=postgres dbname=postgres"

    def __enter__(self):
        options = f"-c unix_socket_directories={self.sockets} -c listen_addresses="
        self.call("-o", options, "start")
        return self

    def __exit__(self, *_):
        self.call("-m", "fast", "stop")

    def call(self, *arguments):
        answer = subprocess.run(
            [*self.command, *arguments],
            stdout=subprocess.DEVNULL,
            timeout=180,
            check=False,
            cwd="/",
            **account().child_identity(),
        )
        assert answer.returncode == 0, (self.sockets / "log").read_text()


@on_majors(15, 18)
def test_fault_37_restored_cluster_starts_plainly_and_does_not_archive(
    binaries, make_cluster, make_stack, shared_directory
):
    archive = make_place(shared_directory, "archive")
    archive_settings = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    cluster = make_cluster(binaries, settings=archive_settings)
    sql(cluster, "CREATE TABLE t AS SELECT 1 AS one", "SELECT pg_switch_wal()")
    wait_until(lambda: any(archive.iterdir()))
    stack = make_stack(cluster)
    snapshot = stack.backup()
    wait_until(lambda: ask(cluster, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'") == 0)
    cluster.stop()
    archived = sorted(path.name for path in archive.iterdir())

    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    marker = json.loads((target / "holdfast-restore.json").read_text())
    assert (marker["snapshot"], marker["service"], marker["stack"]) == (snapshot["id"], "db", "shop")
    assert (marker["repository"], marker["directories"]) == (str(stack.place), [str(target)])
    assert marker["finished"] >= marker["started"] > "2026"
    assert marker["facts"]["stop_lsn"] == snapshot["facts"]["stop_lsn"]
    assert target.stat().st_uid == (target / "holdfast-restore.json").stat().st_uid == account().uid

    with PgCtl(binaries, target) as server, psycopg.connect(server.conninfo, autocommit=True) as connection:
        assert connection.execute("SHOW archive_mode").fetchone() == ("off",)
        assert connection.execute("SHOW max_logical_replication_workers").fetchone() == ("0",)
        configured = connection.execute(
            "SELECT setting FROM pg_file_settings WHERE name = 'archive_command'"
        ).fetchone()
        assert configured[0].endswith("%f")
        connection.execute("INSERT INTO t VALUES (2)")
        for _ in range(3):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
        assert connection.execute("SELECT archived_count + failed_count FROM pg_stat_archiver").fetchone() == (0,)
    assert sorted(path.name for path in archive.iterdir()) == archived
    # the source itself archives on: what was done is in the restored directory alone
    cluster.start()
    sql(cluster, "INSERT INTO t VALUES (3)", "SELECT pg_switch_wal()")
    wait_until(lambda: len(list(archive.iterdir())) > len(archived))


@on_majors(15, 18)
def test_fault_16_without_its_label_a_restored_cluster_does_not_start(
    binaries, make_cluster, make_stack, shared_directory
):
    """Somebody removes backup_label, as PostgreSQL's own hint for crashed servers says: corruption without a word."""
    cluster = make_cluster(binaries)
    sql(cluster, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS nr")
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    (target / "backup_label").rename(target / "label")
    with pytest.raises(HoldfastError) as caught:
        make_cluster.adopt(LocalCluster(binaries, target, account=account()))
    assert "checkpoint record" in "\n".join((caught.value.message, *caught.value.details))
    (target / "label").rename(target / "backup_label")
    assert ask(start_restored(make_cluster, cluster, target), "SELECT count(*) FROM t") == 1000


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_owners_and_modes_come_back(make_cluster, make_stack, shared_directory, quiet_cluster, mode):
    cluster = make_cluster(quiet_cluster.binaries)
    cluster.stop()
    for directory, _, names in os.walk(cluster.data_directory):
        os.chmod(directory, mode)
        for name in names:
            os.chmod(os.path.join(directory, name), mode & 0o640)
    os.chmod(cluster.data_directory / "pg_ident.conf", 0o400)
    cluster.start()
    place = make_place(shared_directory, "place")
    sql(cluster, f"CREATE TABLESPACE place LOCATION '{place}'", "CREATE TABLE t TABLESPACE place AS SELECT 1 AS one")
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()

    target, moved = shared_directory / "restored", shared_directory / "moved"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"place={moved}")
    for source, copy in [(cluster.data_directory, target), (place, moved)]:
        for directory, names, files in os.walk(copy):
            for each in (directory, *(os.path.join(directory, name) for name in names + files)):
                original = os.path.join(source, os.path.relpath(each, copy))
                if os.path.lexists(original) and not os.path.islink(each):
                    assert facts_of(each) == facts_of(original), each
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert stat.S_IMODE(moved.stat().st_mode) == mode
    assert stat.S_IMODE((target / "backup_label").stat().st_mode) == mode & 0o640
    assert stat.S_IMODE((target / "holdfast-restore.json").stat().st_mode) == mode & 0o640
    tablespace_map = (target / "tablespace_map").read_text()
    assert tablespace_map == f"{next(iter(os.listdir(target / 'pg_tblspc')))} {moved}\n"
    assert ask(start_restored(make_cluster, cluster, target), "SELECT one FROM t") == 1


def facts_of(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_configuration_kept_elsewhere_does_not_hinder_the_start(
    make_cluster, make_stack, shared_directory, quiet_cluster
):
    """As on Debian, where postgresql.conf and pg_hba.conf lie in /etc."""
    cluster = make_cluster(quiet_cluster.binaries)
    cluster.stop()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (cluster.data_directory / name).unlink()
    cluster.start()
    sql(cluster, "CREATE TABLE t AS SELECT 1 AS one")
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert "local all all peer" in (target / "pg_hba.conf").read_text()
    assert facts_of(target / "pg_hba.conf") == facts_of(target / "PG_VERSION")
    with PgCtl(cluster.binaries, target):
        pass


def test_restored_cluster_can_be_backed_up_and_restored_in_its_turn(
    make_cluster, make_stack, shared_directory, quiet_cluster, quiet_stack
):
    quiet_stack.backup()
    first, second = shared_directory / "first", shared_directory / "second"
    quiet_stack.succeed("restore", "db", "--target", first)
    restored = start_restored(make_cluster, quiet_cluster, first)
    stack = make_stack(restored, name="again")
    snapshot = stack.backup()
    stack.succeed("restore", "db", "--target", second)
    assert json.loads((second / "holdfast-restore.json").read_text())["snapshot"] == snapshot["id"]
    assert ask(start_restored(make_cluster, quiet_cluster, second), "SELECT count(*) FROM item") == 20000


def test_link_that_is_no_tablespace_is_not_followed_nor_restored(
    make_cluster, make_stack, shared_directory, quiet_cluster
):
    cluster = make_cluster(quiet_cluster.binaries)
    outside = make_place(shared_directory, "outside")
    (outside / "precious").write_text("precious")
    (cluster.data_directory / "pg_tblspc" / "99999").symlink_to(outside)
    (cluster.data_directory / "aside").symlink_to(outside)
    stack = make_stack(cluster)
    snapshot = stack.backup()
    assert not any(b"precious" in path for path in stack.entries(snapshot["id"]))
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert os.listdir(target / "pg_tblspc") == []
    assert os.readlink(target / "aside") == str(outside)
    assert os.listdir(outside) == ["precious"]


def test_a_tablespace_comes_back_without_what_an_upgrade_left_in_it(
    make_cluster, make_stack, shared_directory, quiet_cluster
):
    """``pg_upgrade --link`` leaves the old cluster's part beside the new one's, with the very same files."""
    cluster = make_cluster(quiet_cluster.binaries)
    place = make_place(shared_directory, "far")
    sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    (part,) = place.iterdir()
    shutil.copytree(part, place / "PG_14_202107181", copy_function=os.link)
    stack = make_stack(cluster)
    entries = stack.entries(stack.backup()["id"])
    assert not any(b"PG_14" in path for path in entries)
    assert {entry.kind.name for path, entry in entries.items() if b"PG_15" in path} == {"DIRECTORY", "FILE"}
    target, moved = shared_directory / "restored", shared_directory / "moved"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"far={moved}")
    assert [each.name for each in moved.iterdir()] == [part.name]
    assert ask(start_restored(make_cluster, cluster, target), "SELECT one FROM t") == 1


def test_things_that_are_no_files_are_recorded_and_passed_over(
    make_cluster, make_stack, shared_directory, quiet_cluster
):
    import socket

    cluster = make_cluster(quiet_cluster.binaries)
    data = cluster.data_directory
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "socket"))
    (data / "one").write_bytes(b"content of two names")
    os.link(data / "one", data / "two")
    with (data / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(40 << 20)
        file.write(b"x" * 5000)
    stack = make_stack(cluster)
    snapshot = stack.backup()
    kinds = {path: entry.kind.name for path, entry in stack.entries(snapshot["id"]).items()}
    assert (kinds[b"pipe"], kinds[b"socket"]) == ("FIFO", "SOCKET")
    assert sorted((kinds[b"one"], kinds[b"two"])) == ["FILE", "HARD_LINK"]

    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert not (target / "pipe").exists()
    assert not (target / "socket").exists()
    assert (target / "one").samefile(target / "two")
    assert (target / "two").read_bytes() == b"content of two names"
    assert (target / "sparse").read_bytes() == (data / "sparse").read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < 4 << 20
    start_restored(make_cluster, cluster, target)


def test_wal_directory_elsewhere_becomes_an_ordinary_one(make_cluster, make_stack, shared_directory, quiet_cluster):
    cluster = make_cluster(quiet_cluster.binaries)
    cluster.stop()
    elsewhere = shared_directory / "wal"
    shutil.move(cluster.data_directory / "pg_wal", elsewhere)
    (cluster.data_directory / "pg_wal").symlink_to(elsewhere)
    add_settings(cluster.data_directory / "postgresql.conf", {"wal_keep_size": "64MB"})
    cluster.start()
    sql(cluster, "CREATE TABLE t AS SELECT 1 AS one")
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert not (target / "pg_wal").is_symlink()
    assert ask(start_restored(make_cluster, cluster, target), "SELECT one FROM t") == 1
