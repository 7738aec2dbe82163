"""What a restore refuses, before anything is written; and restores that were broken off."""

import os
import shutil
import signal
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql, start_restored
from tests.integration.backup_restore.stack import StackDirectory, finish

from holdfast.errors import HoldfastError


@pytest.fixture(scope="module")
def stack(quiet_cluster, tmp_path_factory):
    """A repository with two snapshots of the quiet cluster; these tests add nothing to it."""
    stack = StackDirectory(tmp_path_factory.mktemp("refusals"), {"db": quiet_cluster.conninfo()})
    stack.succeed("init")
    stack.backup()
    stack.backup()
    return stack


def tree(*roots):
    """Return everything below directories: names, times, sizes."""
    found = {}
    for root in roots:
        for directory, names, files in os.walk(root):
            for each in (directory, *(os.path.join(directory, name) for name in names + files)):
                status = os.lstat(each)
                found[each] = (status.st_mtime_ns, status.st_size, status.st_mode)
    return found


def refused(stack, *arguments, code=2):
    run = stack.run("restore", "db", *arguments)
    assert run.code == code, str(run)
    assert run.error["hint"]
    assert run.error["message"] == run.error["message"].strip()
    return run.error


def test_fault_29_targets_in_use_are_refused_before_anything_is_written(stack, quiet_cluster, shared_directory):
    occupied = shared_directory / "occupied"
    occupied.mkdir()
    (occupied / "file").write_text("mine")
    linked = shared_directory / "linked"
    linked.symlink_to(quiet_cluster.data_directory)
    watched = (shared_directory, quiet_cluster.data_directory / "base", stack.place / "packs")
    before = tree(*watched)
    data = quiet_cluster.data_directory
    for target, words in [
        (occupied, "is not empty"),
        (occupied / "file", "is not a directory"),
        (occupied / "file" / "below", f"{occupied / 'file'} is not a directory"),
        (data, "running server"),
        (linked, "running server"),
        (data / "new", "inside the data directory"),
        (data / "base" / "new" / "deeper", "inside the data directory"),
        (linked / "new", "inside the data directory"),
        (stack.place, "is not empty"),
        (stack.place / "new", "inside the repository"),
        (stack.place / "packs" / "new", "inside the repository"),
        ("relative/place", "not an absolute path"),
        (os.fsdecode(os.fsencode(shared_directory) + b"/\xff"), "is no text in UTF-8"),
    ]:
        assert words in refused(stack, "--target", target)["message"]
    assert tree(*watched) == before


def test_snapshots_are_named_by_what_is_there(stack, shared_directory):
    ids = [each["id"] for each in stack.snapshots()]
    target = shared_directory / "restored"
    mistyped = ids[0][:7] + ("0" if ids[0][7] != "0" else "1")
    error = refused(stack, "--target", target, "--snapshot", mistyped)
    assert ids[0][:8] in error["hint"]
    assert "holdfast snapshots" in refused(stack, "--target", target, "--snapshot", "zzzzzzzz")["hint"]
    error = refused(stack, "--target", target, "--snapshot", "")
    assert "ambiguous" in error["message"]
    assert [line.split()[0] for line in error["details"]] == ids
    assert not target.exists()


def test_service_and_tablespace_must_exist(stack, shared_directory):
    target = shared_directory / "restored"
    run = stack.run("restore", "dv", "--target", target)
    assert (run.code, run.error["hint"]) == (2, "did you mean 'db'?")
    assert "no tablespace 'far'" in refused(stack, "--target", target, "--tablespace", "far=/x")["message"]
    assert "NAME=/absolute/dir" in refused(stack, "--target", target, "--tablespace", "far")["hint"]
    assert not target.exists()


def test_dry_run_writes_nothing(stack, shared_directory):
    target = shared_directory / "new" / "restored"
    before = tree(shared_directory, stack.place)
    plan = stack.succeed("restore", "db", "--target", target, "--dry-run").message("restore_plan")
    assert tree(shared_directory, stack.place) == before
    assert plan["files"] > 900
    assert plan["size_bytes"] > 20 << 20 > plan["fetched_bytes"] > 0
    assert plan["directories"] == [str(target)]
    assert plan["file_systems"][0]["needed_bytes"] <= plan["size_bytes"]
    assert plan["binaries"].endswith("15/bin")
    child = subprocess.Popen(
        stack.command("restore", "db", "--target", target, "--dry-run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=stack.environment,
    )
    words = finish(child).stdout
    assert "needs PostgreSQL 15 (found in" in words
    assert f"to {target}: " in words


def test_occupied_tablespaces_want_another_place(quiet_cluster, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(quiet_cluster.binaries)
    place = make_place(shared_directory, "place")
    sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    stack = make_stack(cluster)
    stack.backup()
    target, moved = shared_directory / "restored", shared_directory / "moved"
    before = tree(shared_directory / "place")
    error = refused(stack, "--target", target)
    assert error["message"] == f"{place} is not empty"
    assert "--tablespace NAME=DIR" in error["hint"]
    for wrong in (target, target / "inside", shared_directory):
        assert "lie in one another" in refused(stack, "--target", target, "--tablespace", f"far={wrong}")["message"]
    assert "not an absolute" in refused(stack, "--target", target, "--tablespace", "far=moved")["message"]
    assert tree(shared_directory / "place") == before
    assert not target.exists()

    stack.run(
        "restore", "db", "--target", target, "--tablespace", f"far={moved}", HOLDFAST_CRASH_POINT="restore.synced"
    )
    error = refused(stack, "--target", target, "--resume", "--tablespace", f"far={cluster.data_directory}")
    assert "went to other directories" in error["message"]
    stack.succeed("restore", "db", "--target", target, "--resume", "--tablespace", f"far={moved}")
    cluster.stop()
    assert ask(start_restored(make_cluster, cluster, target), "SELECT one FROM t") == 1


def test_restore_that_does_not_fit_is_refused(stack, shared_directory):
    """On a file system of 8 MiB, in a mount namespace of the child's own."""
    target = shared_directory / "small" / "restored"
    target.parent.mkdir()
    script = 'mount -t tmpfs -o size=8m none "$0" && "$@"; code=$?; ls -A "$0"; exit $code'
    command = ["unshare", "-m", *([] if os.geteuid() == 0 else ["-Ur"]), "sh", "-c", script, target.parent]
    child = subprocess.Popen(
        [*command, *stack.command("restore", "db", "--target", target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=stack.environment,
    )
    run = finish(child)
    assert run.code == 1, str(run)
    assert "MiB free; the restore needs" in run.stderr
    assert "HINT: free some space, or restore to another file system" in run.stderr
    assert run.stdout == ""


def broken_off(stack, target, point):
    run = stack.run("restore", "db", "--target", target, HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL


def test_fault_16_resume_keeps_what_is_verified_and_repairs_the_rest(
    stack, shared_directory, make_cluster, quiet_cluster
):
    target = shared_directory / "restored"
    broken_off(stack, target, "restore.content-written")
    assert not (target / "global" / "pg_control").exists()
    with pytest.raises(HoldfastError):
        make_cluster.adopt(type(quiet_cluster)(quiet_cluster.binaries, target))
    assert "is not empty" in refused(stack, "--target", target)["message"]

    relation = ask(quiet_cluster, "SELECT pg_relation_filepath('item')")
    size = (target / relation).stat().st_size
    with (target / relation).open("r+b") as file:  # a corrupted part of a large file, which is hashed again
        file.seek(size // 2)
        file.write(b"rotten")
    (target / "PG_VERSION").write_text("99\n")
    shutil.rmtree(target / "pg_xact")
    run = stack.succeed("restore", "db", "--target", target, "--resume")
    fetched = max(each["total_bytes"] or 0 for each in run.messages if each.get("phase") == "restoring files")
    assert fetched < run.message("restored")["size_bytes"] * 0.75
    assert (target / relation).read_bytes() == (quiet_cluster.data_directory / relation).read_bytes()
    assert (target / "PG_VERSION").read_text() == "15\n"
    restored = start_restored(make_cluster, quiet_cluster, target)
    assert ask(restored, "SELECT count(*), min(name), max(name) FROM item") == 20000


def test_resume_of_something_else_is_refused(stack, shared_directory):
    newest, oldest = (each["id"] for each in reversed(stack.snapshots()))
    target = shared_directory / "restored"
    assert "no broken-off restore" in refused(stack, "--target", target, "--resume")["message"]
    broken_off(stack, target, "restore.file-done:50")
    error = refused(stack, "--target", target, "--resume", "--snapshot", oldest)
    assert (newest[:8] in error["message"], newest[:8] in error["hint"]) == (True, True)
    stack.succeed("restore", "db", "--target", target, "--resume")
    assert "whole already" in refused(stack, "--target", target, "--resume")["message"]


def test_resume_never_touches_what_may_have_run(stack, shared_directory, make_cluster, quiet_cluster):
    target = shared_directory / "restored"
    broken_off(stack, target, "restore.control-renamed")
    restored = start_restored(make_cluster, quiet_cluster, target)
    sql(restored, "CREATE TABLE since AS SELECT 1 AS one", "CHECKPOINT")
    restored.stop()
    before = tree(target)
    stack.succeed("restore", "db", "--target", target, "--resume")
    changed = {path for path, facts in tree(target).items() if before[path] != facts}
    assert changed == {str(target), str(target / "holdfast-restore.json")}
    restored.start()
    assert ask(restored, "SELECT one FROM since") == 1
    assert "whole already" in refused(stack, "--target", target, "--resume")["message"]


def test_damaged_repository_gives_no_wrong_bytes(stack, shared_directory, tmp_path):
    copy = StackDirectory(tmp_path / "copy", stack.connections)
    shutil.copytree(stack.place, copy.place)
    pack = max(copy.packs().items(), key=lambda item: item[1])[0]
    with (copy.place / pack).open("r+b") as file:
        file.seek(copy.packs()[pack] // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    target = shared_directory / "restored"
    error = refused(copy, "--target", target, code=14)
    assert pack in error["message"]
    assert "check --read-data" in error["hint"]
    assert not (target / "global" / "pg_control").exists()

    shutil.copyfile(stack.place / pack, copy.place / pack)  # the operator brings the pack back from another copy
    copy.succeed("restore", "db", "--target", target, "--resume")
