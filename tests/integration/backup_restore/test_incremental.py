"""The second backup: what looks unchanged is not read, what is known is not stored, and nothing changed is missed."""

import os
import subprocess

from tests.integration.backup_restore.clusters import ask, sql, start_restored
from tests.integration.backup_restore.stack import At
from tests.servers.majors import on_majors
from tests.servers.postgres import account, postgres_binaries

from holdfast import clock

GRAIN_S = 2.2


def settle():
    """Let the files become older than the coarsest clock's grain."""
    clock.sleep(GRAIN_S)


def stats(snapshot):
    return snapshot["stats"]


@on_majors(15, 18)
def test_second_backup_reads_and_stores_only_what_changed(binaries, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(binaries, settings={"autovacuum": "off"})
    sql(
        cluster,
        "CREATE TABLE still AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, 50000) AS i",
        "CREATE TABLE moving AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, 50000) AS i",
        "VACUUM",
        "CHECKPOINT",
    )
    settle()
    stack = make_stack(cluster)
    first = stack.backup()
    assert stats(first)["files_read"] > 900
    second = stack.backup()
    assert second["parent"] == first["id"]
    assert stats(second)["files_read"] < 15  # the WAL, statistics of checkpoints, and the like
    assert stats(second)["new_plain_bytes"] < stats(first)["new_plain_bytes"] / 2

    settle()
    sql(cluster, "UPDATE moving SET t = 'moved' WHERE id = 4711", "CHECKPOINT")
    third = stack.backup()
    entries = {each["id"]: stack.entries(each["id"]) for each in (second, third)}
    still, moving = (ask(cluster, f"SELECT pg_relation_filepath('{table}')").encode() for table in ("still", "moving"))
    before, after = entries[second["id"]], entries[third["id"]]
    assert before[still].extents == after[still].extents
    assert before[moving].extents != after[moving].extents
    assert stats(third)["files_read"] < 40

    rehashed = stack.succeed("backup", "db", "--rehash").message("snapshot_made")
    assert (rehashed["parent"], stats(rehashed)["files_read"] > 900) == (None, True)
    assert stats(rehashed)["new_plain_bytes"] < stats(first)["new_plain_bytes"] / 2
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", third["id"])
    restored = start_restored(make_cluster, cluster, target)
    assert ask(restored, "SELECT t FROM moving WHERE id = 4711") == "moved"
    stack.check()


def test_file_rewritten_with_its_old_size_and_time_is_noticed(make_cluster, make_stack):
    cluster = make_cluster(postgres_binaries(15))
    path = cluster.data_directory / "notes.txt"
    path.write_bytes(b"first")
    settle()
    stack = make_stack(cluster)
    stack.backup()
    status = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    snapshot = stack.backup()
    target = cluster.data_directory.parent / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", snapshot["id"])
    assert (target / "notes.txt").read_bytes() == b"other"


def test_file_written_while_its_parent_was_taken_is_read_again(make_cluster, make_stack):
    cluster = make_cluster(postgres_binaries(15))
    path = cluster.data_directory / "notes.txt"
    path.write_bytes(b"first")
    settle()
    stack = make_stack(cluster)
    stack.back_up_here(At("copying WAL", lambda: path.write_bytes(b"other")))
    snapshot = stack.backup()
    target = cluster.data_directory.parent / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", snapshot["id"])
    assert (target / "notes.txt").read_bytes() == b"other"


def test_another_history_or_page_format_means_reading_everything(make_cluster, make_stack):
    binaries = postgres_binaries(15)
    cluster, other = make_cluster(binaries), make_cluster(binaries, "other")
    settle()
    stack = make_stack(cluster)
    total = stats(stack.backup())["files_read"]

    def reads_everything():
        run = stack.succeed("backup", "db")
        notices = [message["text"] for message in run.messages if message["message_type"] == "notice"]
        assert any("reading all files" in text for text in notices)
        return stats(run.message("snapshot_made"))["files_read"] > total * 0.95

    def switch(action):
        cluster.stop()
        command = [binaries.program("pg_checksums"), action, "--no-sync", "-D", cluster.data_directory]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **account().child_identity())
        cluster.start()

    assert stats(stack.backup())["files_read"] < 20
    switch("--disable")
    settle()
    assert reads_everything()
    assert not stack.snapshots()[-1]["facts"]["has_data_checksums"]

    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    cluster.start()
    sql(cluster, "SELECT pg_promote(wait => true)", "CHECKPOINT")
    settle()
    assert reads_everything()
    assert stack.snapshots()[-1]["facts"]["timeline"] == 2

    assert stack.snapshots()[-1]["warnings"] == []
    stack.connections = {"db": other.conninfo()}
    stack.write()
    assert reads_everything()
    before, now = stack.snapshots()[-2:]
    (warning,) = now["warnings"]
    assert "another cluster" in warning
    assert before["id"][:8] in warning
    assert before["facts"]["system_identifier"] in warning
    assert not stack.backup()["warnings"]
    stack.connections, stack.service = {"db": cluster.conninfo()}, {"method": "replication"}
    stack.write()
    assert now["facts"]["system_identifier"] in stack.backup()["warnings"][0]
