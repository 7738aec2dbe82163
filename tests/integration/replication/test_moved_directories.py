"""What was moved to another disk, with a link in its place, is not sent by a server, which says so in passing only."""

import shutil
import socket

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.servers.postgres import postgres_binaries

from holdfast.postgres import base_backup


@pytest.fixture
def with_far(cluster, shared_directory):
    """A cluster with a table in a tablespace, and a socket in its data directory, which is nobody's data."""
    sql(
        cluster,
        f"CREATE TABLESPACE far LOCATION '{make_place(shared_directory, 'far')}'",
        "CREATE TABLE far TABLESPACE far AS SELECT 1 AS one",
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(cluster.data_directory / "socket"))
    return cluster


def move(cluster, path, disk):
    """Put a link to another disk in the place of a directory or file."""
    moved = cluster.data_directory / path
    shutil.move(moved, disk)
    moved.symlink_to(disk)


@pytest.mark.parametrize(("table", "levels"), [("item", 1), ("item", 0), ("far", 1), ("far", 0)])
@pytest.mark.parametrize("libpq_reads", [False, True])
def test_fault_27_what_a_server_leaves_out_is_missing(
    table, levels, libpq_reads, with_far, make_stack, shared_directory, monkeypatch
):
    if libpq_reads:
        monkeypatch.setattr(base_backup, "is_readable", lambda _: False)
    parts = ask(with_far, f"SELECT pg_relation_filepath('{table}')").split("/")
    path = "/".join(parts[: len(parts) - levels])
    with_far.stop()
    move(with_far, path, shared_directory / "disk")
    with_far.start()
    stack = make_stack(with_far)
    run = stack.run("backup", "db")
    assert run.code == 3, str(run)
    (warning,) = run.message("snapshot_made")["warnings"]
    assert warning.startswith(f"{path}: the server says: skipping special file")


def test_a_link_in_the_place_of_all_databases_is_refused(cluster, make_stack, shared_directory):
    cluster.stop()
    move(cluster, "base", shared_directory / "disk")
    cluster.start()
    stack = make_stack(cluster)
    run = stack.run("backup", "db")
    assert run.error["message"] == "the base backup came without base"
    assert "run Holdfast on the server itself" in run.error["hint"]
    assert stack.snapshots() == []


@pytest.mark.parametrize("major", [17, 18])
def test_a_socket_in_the_data_directory_is_no_reason_to_complain(major, make_cluster, make_stack):
    cluster = make_cluster(postgres_binaries(major), settings={"autovacuum": "off"})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(cluster.data_directory / "socket"))
    assert not make_stack(cluster).backup()["warnings"]
