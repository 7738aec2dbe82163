"""Partial is not success, durable is meant, and damage in the repository does not stop the next backup."""

import os

import pytest
from tests.integration.backup_restore.clusters import ask, start_restored
from tests.integration.backup_restore.stack import At
from tests.integration.backup_restore.test_incremental import settle
from tests.servers.postgres import postgres_binaries


def test_fault_27_file_that_cannot_be_read_is_missing_and_said_to_be(make_cluster, make_stack, shared_directory):
    """A link in a file's place may not be followed: the one refusal that root meets, too."""
    cluster = make_cluster(postgres_binaries(15))
    notes = cluster.data_directory / "notes"
    notes.write_text("x" * 5000)
    stack = make_stack(cluster)

    def replace():
        notes.unlink()
        notes.symlink_to("elsewhere")

    snapshot = stack.back_up_here(At("copying files", replace))
    assert (snapshot.is_complete, snapshot.is_clean) == (False, True)
    assert snapshot.warnings == ("notes: Too many levels of symbolic links",)
    listed = stack.run("snapshots").message("snapshot")
    assert listed["is_complete"] is False
    target = shared_directory / "restored"
    run = stack.succeed("restore", "db", "--target", target, "--snapshot", snapshot.id)
    assert "is incomplete" in run.message("warning")["text"]
    start_restored(make_cluster, cluster, target)

    notes.unlink()
    notes.write_text("back")
    assert stack.backup()["is_complete"]


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_file_whose_first_name_is_lost_is_read_by_its_other_one(
    is_readable, make_cluster, make_stack, shared_directory
):
    """A snapshot with a link to what is not in it could not be restored at all."""
    cluster = make_cluster(postgres_binaries(15))
    names = [cluster.data_directory / name for name in ("one", "two", "three")]
    names[0].write_text("x" * 5000)
    for name in names[1:]:
        os.link(names[0], name)
    first, *others = (each for each in os.listdir(cluster.data_directory) if each in {"one", "two", "three"})
    stack = make_stack(cluster)

    def lose():
        (cluster.data_directory / first).unlink()
        if not is_readable:
            for name in others:
                (cluster.data_directory / name).unlink()
                (cluster.data_directory / name).symlink_to("elsewhere")

    snapshot = stack.back_up_here(At("copying files", lose))
    assert snapshot.is_complete == is_readable
    assert set(snapshot.warnings) == (
        set() if is_readable else {f"{name}: Too many levels of symbolic links" for name in others}
    )
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", snapshot.id)
    found = {name: (target / name).read_text() for name in others if (target / name).exists()}
    assert found == (dict.fromkeys(others, "x" * 5000) if is_readable else {})
    start_restored(make_cluster, cluster, target)


def test_directory_that_may_not_be_read_makes_the_exit_code_3(make_cluster, make_stack, monkeypatch):
    """As the lost+found of a file system that is mounted as data directory; the tests may run as root."""
    cluster = make_cluster(postgres_binaries(15))
    (cluster.data_directory / "lost+found").mkdir()
    stack = make_stack(cluster)
    listdir = os.listdir

    def refuse(path):
        if isinstance(path, bytes) and path.endswith(b"lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    snapshot = stack.back_up_here(At("", lambda: None))
    assert (snapshot.is_complete, snapshot.warnings) == (False, ("lost+found: Permission denied",))


def test_fault_36_each_stored_object_is_made_durable_once(make_cluster, make_stack, monkeypatch):
    """One fdatasync a pack, not one a chunk."""
    cluster = make_cluster(postgres_binaries(15))
    stack = make_stack(cluster)
    counts = {"fdatasync": 0}
    fdatasync = os.fdatasync

    def counted(descriptor):
        counts["fdatasync"] += 1
        fdatasync(descriptor)

    before = {path for path in stack.place.rglob("*") if path.is_file()}
    monkeypatch.setattr(os, "fdatasync", counted)
    snapshot = stack.back_up_here(At("", lambda: None))
    monkeypatch.undo()
    made = {path for path in stack.place.rglob("*") if path.is_file()} - before
    sessions = 1  # made, and withdrawn at the end
    assert counts["fdatasync"] == len(made) + sessions
    assert counts["fdatasync"] < snapshot.stats.new_chunks


def test_everything_stored_can_be_verified_at_once(quiet_stack):
    snapshot = quiet_stack.backup("db", "--verify-writes", "--tag", "tagged")
    assert (snapshot["is_complete"], snapshot["tags"]) == (True, ["tagged"])
    quiet_stack.check()


def test_lost_packs_do_not_stop_the_next_backup_which_stores_them_again(
    make_cluster, make_stack, quiet_cluster, shared_directory
):
    settle()
    stack = make_stack(quiet_cluster)
    first = stack.backup()
    for name in stack.packs():
        (stack.place / name).unlink()
    second = stack.backup()
    assert second["stats"]["new_plain_bytes"] > first["stats"]["new_plain_bytes"] * 0.5
    for path in (stack.place / "packs" / "meta").rglob("*"):
        if path.is_file():
            path.unlink()
    run = stack.succeed("backup", "db")
    assert "all files are read" in run.message("warning")["text"]
    third = run.message("snapshot_made")
    assert third["parent"] is None
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", third["id"])
    assert ask(start_restored(make_cluster, quiet_cluster, target), "SELECT count(*) FROM item") == 20000
