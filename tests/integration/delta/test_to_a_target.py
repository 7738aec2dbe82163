"""A delta restore to a target: an older copy is brought to the snapshot, and recovered from there."""

from tests.integration.backup_restore.clusters import archive_plain_wal, ask, make_place, sql, start_restored
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.delta.copies import delta
from tests.servers.postgres import postgres_binaries


def test_a_copy_is_recovered_to_a_restore_point(make_cluster, shared_directory, tmp_path):
    plain = make_place(shared_directory, "plain")
    settings = {"autovacuum": "off", "archive_mode": "on", "archive_command": f"cp %p {plain}/%f"}
    cluster = make_cluster(postgres_binaries(15), settings=settings)
    sql(cluster, "CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) AS i")
    stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
    stack.succeed("init")
    stack.backup()
    copy = shared_directory / "copy"
    stack.succeed("restore", "db", "--target", copy)
    sql(cluster, "INSERT INTO t SELECT 0", "SELECT pg_create_restore_point('here')", "DROP TABLE t")
    archive_plain_wal(cluster, stack, plain)

    for _ in range(2):  # the second time over a cluster that was promoted, and has a timeline of its own
        done = delta(stack, copy, "--to", "name:here")
        assert (done["reached_timeline"], done["new_timeline"]) == (1, 2)
        restored = start_restored(make_cluster, cluster, copy)
        assert ask(restored, "SELECT count(*) FROM t") == 10001
        restored.stop()
