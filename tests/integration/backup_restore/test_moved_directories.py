"""What was moved to another disk, with a link in its place, is the cluster's all the same (FAULTS 27).

A server follows such links without a word. A backup that kept one would have nothing of what lies behind it; and what
is restored would share it with the cluster in service.
"""

import os
import shutil

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql, start_restored

MOVED = [
    *("base/{database}", "base", "global", "pg_multixact/members", "pg_stat_tmp", "base/{database}/{table}"),
    *("{tablespace}/{database}", "{tablespace}/{database}/{far}"),
]


@pytest.fixture
def cluster(make_cluster, quiet_cluster, shared_directory):
    """Two tables of 3.5 MB, one in a tablespace."""
    cluster = make_cluster(quiet_cluster.binaries)
    sql(
        cluster,
        "CREATE TABLE near AS SELECT i AS id FROM generate_series(1, 100000) AS i",
        f"CREATE TABLESPACE far LOCATION '{make_place(shared_directory, 'far')}'",
        "CREATE TABLE far TABLESPACE far AS SELECT * FROM near",
    )
    return cluster


def named(cluster, pattern):
    """Return a path below the data directory."""
    near, far = (ask(cluster, f"SELECT pg_relation_filepath('{table}')") for table in ("near", "far"))
    tablespace, database, file = far.rsplit("/", 2)
    return pattern.format(database=database, table=near.rpartition("/")[2], tablespace=tablespace, far=file)


@pytest.mark.parametrize("pattern", MOVED)
def test_fault_27_what_lies_behind_a_link_is_restored_to_a_place_of_its_own(
    pattern, cluster, make_cluster, make_stack, shared_directory
):
    path = named(cluster, pattern)
    cluster.stop()
    disk, moved = make_place(shared_directory, "disk"), cluster.data_directory / path
    shutil.move(moved, disk / "moved")
    moved.symlink_to(disk / "moved")
    cluster.start()
    stack = make_stack(cluster)
    stack.backup()
    stack.backup()
    cluster.stop()
    shutil.rmtree(disk)
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"far={shared_directory / 'restored far'}")
    assert not (target / path).is_symlink()
    both = "SELECT (SELECT sum(id) FROM near) + (SELECT sum(id) FROM far)"
    assert ask(start_restored(make_cluster, cluster, target), both) == 2 * 5000050000


def test_fault_27_a_link_to_a_disk_that_is_not_there_is_missing(cluster, make_stack):
    away = cluster.data_directory / "base" / "4"  # template0, which nobody looks at
    shutil.rmtree(away)
    away.symlink_to("/nonexistent/4")
    stack = make_stack(cluster)
    run = stack.run("backup", "db")
    assert run.code == 3, str(run)
    assert run.message("snapshot_made")["warnings"] == ["base/4: No such file or directory"]
    os.unlink(away)


@pytest.mark.parametrize("is_there", [True, False])
def test_configuration_behind_links_is_left_alone_by_a_restore(
    is_there, cluster, make_cluster, make_stack, shared_directory
):
    """The link leads to what the cluster in service reads: nothing may be written through it."""
    cluster.stop()
    etc = make_place(shared_directory, "etc")
    names = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf")
    for name in names:
        moved = cluster.data_directory / name
        shutil.move(moved, etc / name)
        moved.symlink_to(etc / name)
    with (etc / "postgresql.conf").open("a") as file:
        file.write(f"\ndata_directory = '{cluster.data_directory}'\n")
    cluster.start()
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()
    before = {name: (etc / name).read_bytes() for name in names}
    if not is_there:
        shutil.rmtree(etc)
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"far={shared_directory / 'restored far'}")
    assert etc.exists() == is_there
    assert not is_there or {name: (etc / name).read_bytes() for name in names} == before
    restored = {name: (target / name).read_bytes() for name in names if not (target / name).is_symlink()}
    assert restored["pg_hba.conf"] == before["pg_hba.conf"]
    assert restored["postgresql.auto.conf"].startswith(before["postgresql.auto.conf"])
    assert b"restored by holdfast: data_directory" in restored["postgresql.conf"]
    assert ask(start_restored(make_cluster, cluster, target), "SELECT sum(id) FROM near") == 5000050000
