"""What a delta restore refuses, and leaves to the byte as it was."""

import fcntl
import os
import shutil
import subprocess

import pytest
from tests.integration.backup_restore.clusters import start_restored
from tests.integration.delta.copies import largest
from tests.servers.postgres import postgres_binaries


def refused(stack, target, *options, code=2):
    run = stack.run("restore", "db", "--target", target, "--delta", *options)
    assert run.code == code, str(run)
    assert run.error["hint"]
    return run.error["message"]


def test_a_running_cluster_is_refused(stack, source, copy, make_cluster):
    assert "running server" in refused(stack, source.data_directory)
    cluster = start_restored(make_cluster, source, copy)
    assert f"running server (process {cluster.pid})" in refused(stack, copy)
    linked = copy.with_name("linked")
    linked.symlink_to(copy)
    assert "running server" in refused(stack, linked)


def test_a_server_whose_first_process_was_killed_is_refused_while_its_others_live(stack, copy, make_cluster, source):
    """The lock names a process that is gone, but its children are still attached to the shared memory."""
    cluster = start_restored(make_cluster, source, copy)
    children = [int(each) for each in _children(cluster.pid)]
    for child in children:
        os.kill(child, 19)  # SIGSTOP: else they end by themselves at once
    try:
        os.kill(cluster.pid, 9)
        cluster.close()
        assert "still attached" in refused(stack, copy)
    finally:
        for child in children:
            os.kill(child, 18)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_another_cluster_is_refused(stack, make_cluster):
    other = make_cluster(postgres_binaries(15), "other")
    other.stop()
    assert "another cluster" in refused(stack, other.data_directory)


def test_what_is_no_data_directory_is_refused(stack, shared_directory, copy):
    (shared_directory / "empty").mkdir()
    (shared_directory / "file").touch()
    assert "not a data directory" in refused(stack, shared_directory / "empty")
    assert "not a directory" in refused(stack, shared_directory / "file")
    assert "does not exist" in refused(stack, shared_directory / "nothing")
    assert "not an absolute path" in refused(stack, "relative")
    (copy / "global" / "pg_control").write_bytes(bytes(8192))
    (copy / "holdfast-restore.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert "no control file that tells" in refused(stack, copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_copy_with_the_tablespaces_of_the_cluster_itself_is_refused(stack, source, copy):
    """As ``cp -a`` leaves it: the link leads to where the cluster that was copied has its own."""
    place = source.data_directory.parent / "place"
    link = next((copy / "pg_tblspc").iterdir())
    link.unlink()
    link.symlink_to(place)
    before = sorted(place.rglob("*"))
    assert "where the cluster itself has it" in refused(stack, copy)
    assert "in use by the running server" in refused(stack, copy, "--tablespace", f"elsewhere={place}")
    assert sorted(place.rglob("*")) == before


def test_a_copy_whose_pg_wal_leads_to_what_is_not_its_own_is_refused(stack, source, copy, make_cluster, restored):
    """As ``cp -a`` leaves it where the WAL lies elsewhere: what the snapshot has not would be removed there."""
    other = start_restored(make_cluster, source, copy)
    twin = copy.with_name("twin")
    subprocess.run(["cp", "-a", restored / "copy", twin], check=True)
    places = ("--tablespace", f"elsewhere={copy.with_name('twin-far')}")

    def refused_wal(place):
        shutil.rmtree(twin / "pg_wal") if not (twin / "pg_wal").is_symlink() else (twin / "pg_wal").unlink()
        (twin / "pg_wal").symlink_to(place)
        before = sorted(place.rglob("*"))
        message = refused(stack, twin, *places)
        assert sorted(place.rglob("*")) == before
        return message

    assert f"where the WAL of {copy} is" in refused_wal(copy / "pg_wal")
    assert f"where the WAL of {source.data_directory} is" in refused_wal(source.data_directory / "pg_wal")
    other.stop()
    (copy / "pg_wal" / "letters").touch()
    assert "where there is letters, which is no WAL" in refused_wal(copy / "pg_wal")


def test_a_tablespace_that_is_none_is_refused(stack, copy, shared_directory):
    home = shared_directory / "home"
    home.mkdir()
    (home / "letters").touch()
    assert "is none, it holds letters" in refused(stack, copy, "--tablespace", f"elsewhere={home}")
    assert (home / "letters").exists()


def test_two_at_once_are_refused(stack, copy):
    descriptor = os.open(copy, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another restore is at work" in refused(stack, copy, code=11)
    os.close(descriptor)


def test_no_space_is_told_before_anything_is_changed(stack, copy):
    """On a file system of 24 MiB, in a mount namespace of the child's own, to which a smaller copy is taken."""
    largest(copy / "base").unlink()
    mount = copy.with_name("mount")
    mount.mkdir()
    script = (
        'mount -t tmpfs -o size=36m none "$0" && cp -a "$1" "$0/copy"; find "$0/copy" -printf "%p %T@\\n" >"$0.1"; '
        'shift; "$@"; code=$?; find "$0/copy" -printf "%p %T@\\n" >"$0.2"; exit $code'
    )
    arguments = ["restore", "db", "--target", mount / "copy", "--delta"]
    run = stack.run_with_mounts(script, [mount, copy], *arguments)
    assert (run.code, run.error["error"]) == (1, "NoSpaceError"), str(run)
    assert "the copy grows by" in run.error["message"]
    assert mount.with_name("mount.1").read_text() == mount.with_name("mount.2").read_text() != ""


def test_no_space_where_pg_wal_lies_elsewhere_is_told(stack, copy):
    mount = copy.with_name("mount")
    mount.mkdir()
    for segment in (copy / "pg_wal").glob("0*"):
        segment.unlink()
    (copy / "pg_wal").rename(copy.with_name("wal"))
    (copy / "pg_wal").symlink_to(mount / "wal")
    script = 'mount -t tmpfs -o size=4m none "$0" && cp -a "$1" "$0/wal"; shift; "$@"'
    run = stack.run_with_mounts(script, [mount, copy.with_name("wal")], "restore", "db", "--target", copy, "--delta")
    assert (run.code, run.error["error"]) == (1, "NoSpaceError"), str(run)
    assert f"{copy / 'pg_wal'} has" in run.error["message"]
    assert (copy / "global" / "pg_control").exists()


def test_files_that_a_twin_has_too_need_room_of_their_own(stack, copy):
    """All of them are made anew, as the twin (``cp -al``) keeps what was shared."""
    mount = copy.with_name("mount")
    mount.mkdir()
    script = (
        'mount -t tmpfs -o size=80m none "$0" && cp -a "$1" "$0/copy" && cp -al "$0/copy" "$0/twin"; shift; "$@";'
        ' code=$?; test -e "$0/copy/global/pg_control" || code=99; exit $code'
    )
    run = stack.run_with_mounts(script, [mount, copy], "restore", "db", "--target", mount / "copy", "--delta")
    assert (run.code, run.error["error"]) == (1, "NoSpaceError"), str(run)
    assert "the copy grows by" in run.error["message"]


def test_a_read_only_copy_is_compared_and_told_how_to_go_on(stack, copy):
    with largest(copy / "base").open("r+b") as file:
        file.write(b"changed")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && "$@"'
    arguments = ["restore", "db", "--target", copy, "--delta"]
    plan = stack.run_with_mounts(script, [copy], *arguments, "--dry-run").message("delta_plan")
    assert plan["differing_files"] < 8
    run = stack.run_with_mounts(script, [copy], *arguments)
    assert (run.code, run.error["error"]) == (1, "PermissionRefusedError"), str(run)
    assert run.error["hint"].endswith("run the same command again")
    assert (copy / "global" / "pg_control").exists()


@pytest.mark.parametrize("where", ["extra/inside", "PG_VERSION"])
def test_what_is_mounted_in_a_directory_that_would_go_is_not_emptied(stack, copy, where):
    mine = copy.with_name("mine")
    mine.mkdir()
    (mine / "precious").touch()
    (copy / "PG_VERSION").unlink()
    (copy / where).mkdir(parents=True)
    arguments = ["restore", "db", "--target", copy, "--delta"]
    run = stack.run_with_mounts('mount --bind "$0" "$1" && shift && "$@"', [mine, copy / where], *arguments)
    assert run.code == 2, str(run)
    assert f"{copy / where} is a mount point in the way" in run.error["message"]
    assert (mine / "precious").exists()
    assert (copy / "global" / "pg_control").exists()


@pytest.mark.parametrize("unreadable", ["PG_VERSION", "pg_xact", "base", "pg_tblspc/*"])
def test_a_copy_that_may_not_be_read_is_refused(stack, copy, unreadable):
    for path in [copy, *copy.rglob("*"), *copy.with_name("far").rglob("*"), copy.with_name("far")]:
        os.lchown(path, os.geteuid(), os.getegid())
    (place,) = copy.glob(unreadable)
    os.chmod(place, 0)
    script = 'exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
    run = stack.run_with_mounts(script, ["sh"], "restore", "db", "--target", copy, "--delta")
    os.chmod(place, 0o700)
    assert (run.code, run.error["error"]) == (1, "PermissionRefusedError"), str(run)
    assert f"may not read {place.resolve()}" in run.error["message"]
    assert (copy / "global" / "pg_control").exists()


@pytest.mark.parametrize("resumed", [False, True])
def test_resume_is_not_for_a_broken_off_delta(stack, copy, resumed):
    run = stack.run("restore", "db", "--target", copy, "--delta", HOLDFAST_CRASH_POINT="delta.tree-cleared")
    assert run.code == -9
    far = next((copy / "pg_tblspc").iterdir()).resolve()
    run = stack.run(
        "restore", "db", "--target", copy, "--tablespace", f"elsewhere={far}", *(["--resume"] if resumed else [])
    )
    assert run.code == 2
    assert ("run it again with --delta" in run.error["hint"]) == resumed
