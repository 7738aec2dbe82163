"""Configuration outside the data directory, as Debian keeps it in /etc: taken along, put beside the data."""

from tests.integration.backup_restore.clusters import ask, sql, start_restored
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.local import LocalCluster


def move_configuration(cluster, etc):
    """Stop a cluster, move its configuration out of the data directory, and start it from there, as Debian does."""
    cluster.stop()
    (etc / "conf.d").mkdir(parents=True)
    content = (cluster.data_directory / "postgresql.conf").read_text()
    (cluster.data_directory / "postgresql.conf").unlink()
    (etc / "postgresql.conf").write_text(content + "\ninclude_dir = 'conf.d'\nmax_prepared_transactions = 7\n")
    (etc / "conf.d" / "ours.conf").write_text("work_mem = '7MB'\n")
    for path in (etc, *etc.rglob("*")):
        account().take_over(path)
    settings = {"config_file": str(etc / "postgresql.conf")}
    moved = LocalCluster(cluster.binaries, cluster.data_directory, account=account(), settings=settings)
    moved.start()
    return moved


def test_configuration_elsewhere_is_in_the_snapshot_and_comes_back_beside_the_data(
    make_cluster, make_stack, shared_directory
):
    etc = shared_directory / "etc"
    cluster = move_configuration(make_cluster(postgres_binaries(15)), etc)
    try:
        sql(cluster, "CREATE TABLE t AS SELECT 1 AS one", "SELECT 1")
        sql(cluster, "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'left open'")
        stack = make_stack(cluster)
        stack.backup()
        second = stack.backup()
        assert second["is_complete"]
        target = shared_directory / "restored"
        stack.succeed("restore", "db", "--target", target)
    finally:
        cluster.close()

    beside = target / "holdfast-configuration" / str(etc).lstrip("/")
    for name in ("postgresql.conf", "conf.d/ours.conf"):
        assert (beside / name).read_text() == (etc / name).read_text()
    restored = start_restored(make_cluster, cluster, target)
    assert ask(restored, "SELECT current_setting('work_mem')") == "4MB"
    assert ask(restored, "SELECT current_setting('max_prepared_transactions')") == "7"
    assert ask(restored, "SELECT gid FROM pg_prepared_xacts") == "left open"

    again = stack.succeed("ls", "-R", "latest", "holdfast-configuration").stdout
    assert "ours.conf" in again
