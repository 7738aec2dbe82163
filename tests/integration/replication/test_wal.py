"""The WAL of a backup flows beside its files: the server need not keep it, and no commit is answered by a backup."""

import threading

import psycopg
from tests.integration.backup_restore.clusters import ask, make_standby, sql, start_restored
from tests.integration.backup_restore.stack import At, wait_until
from tests.integration.backup_restore.test_standby import caught_up
from tests.servers.majors import on_majors

from holdfast.postgres.lsn import Lsn

ROWS_OF_A_SEGMENT = 200_000
KEEPS_LITTLE = {
    "autovacuum": "off",
    "max_slot_wal_keep_size": "64MB",
    "wal_keep_size": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
}
HELD_BYTES = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 FROM pg_replication_slots"


def write_a_segment(cluster):
    sql(
        cluster,
        f"INSERT INTO busy SELECT i FROM generate_series(1, {ROWS_OF_A_SEGMENT}) AS i",
        "SELECT pg_switch_wal()",
    )


@on_majors(15, 18)
def test_much_wal_while_files_come_does_not_pile_up(binaries, make_cluster, make_stack, shared_directory):
    """Held to the end, it would be more than the server keeps for a slot, and the backup would fail."""
    cluster = make_cluster(binaries, settings=KEEPS_LITTLE)
    sql(cluster, "CREATE TABLE busy (i int)")
    stack = make_stack(cluster)
    present = []

    def be_busy():
        for _ in range(12):
            write_a_segment(cluster)
            wait_until(lambda: ask(cluster, HELD_BYTES) < 40 << 20)
            sql(cluster, "CHECKPOINT")
        present.append(ask(cluster, "SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"))

    facts = stack.back_up_here(At("copying files", be_busy)).facts
    assert len(facts["wal_segments"]) >= 13
    assert present[0] <= 7
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert ask(start_restored(make_cluster, cluster, target), "SELECT count(*) FROM busy") == 12 * ROWS_OF_A_SEGMENT
    stack.check()


@on_majors(15, 18)
def test_no_commit_is_answered_by_a_backup(binaries, make_cluster, make_stack):
    """Where any standby may be a synchronous one, the server hears of no position that it could take for an answer."""
    cluster = make_cluster(binaries, settings={"autovacuum": "off"})
    sql(cluster, "CREATE TABLE busy (i int)")
    stack = make_stack(cluster)
    seen = []

    def commit():
        with psycopg.connect(cluster.conninfo(), application_name="committer", autocommit=True) as connection:
            connection.execute("INSERT INTO busy VALUES (1)")

    def interfere():
        committer.start()
        waits = "SELECT wait_event FROM pg_stat_activity WHERE application_name = 'committer'"
        wait_until(lambda: ask(cluster, waits) == "SyncRep")
        position = ask(cluster, "SELECT pg_current_wal_lsn()::text")
        sql(cluster, "SELECT pg_switch_wal()", "SELECT pg_switch_wal()")
        taken = f"SELECT write_lsn > '{position}' FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: ask(cluster, taken))
        seen.append(ask(cluster, "SELECT flush_lsn FROM pg_stat_replication WHERE state = 'streaming'"))
        seen.append(ask(cluster, waits))
        sql(cluster, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")

    sql(cluster, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    wait_until(lambda: ask(cluster, "SHOW synchronous_standby_names") == "*")
    committer = threading.Thread(target=commit)
    reporter = At("copying files", interfere)
    stack.back_up_here(reporter)
    committer.join(60)
    assert seen == [None, "SyncRep"]
    assert any("synchronous_standby_names" in notice for notice in reporter.notices)


@on_majors(15, 18)
def test_wal_is_that_of_the_server_to_the_end_of_its_last_segment(binaries, make_cluster, make_stack, shared_directory):
    """Where an archive begins only with the next segment, recovery must find its way into it."""
    cluster = make_cluster(binaries, settings={"autovacuum": "off", "wal_keep_size": "160MB"})
    stack = make_stack(cluster)
    busy = [f"CREATE TABLE t{number} AS SELECT i FROM generate_series(1, 400000) AS i" for number in range(2)]
    facts = stack.back_up_here(At("copying files", lambda: sql(cluster, *busy))).facts
    assert len(facts["wal_segments"]) >= 2
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    for name in facts["wal_segments"]:
        restored, original = ((place / "pg_wal" / name).read_bytes() for place in (target, cluster.data_directory))
        assert restored == original, name


@on_majors(15, 18)
def test_wal_of_a_standby_ends_where_its_backup_ended(binaries, make_cluster, make_stack, shared_directory):
    """A standby cannot switch to the next segment; what came before its end was heard of is not the snapshot's."""
    primary = make_cluster(binaries, settings={"autovacuum": "off", "wal_keep_size": "160MB"})
    standby = make_standby(make_cluster, primary)
    stack = make_stack(standby)
    sql(primary, "CREATE TABLE busy (i int)", "CHECKPOINT")
    caught_up(primary, standby)

    def go_on():
        write_a_segment(primary)
        caught_up(primary, standby)
        taken = "SELECT write_lsn >= pg_last_wal_receive_lsn() FROM pg_stat_replication"
        wait_until(lambda: ask(standby, taken))

    facts = stack.back_up_here(At("copying WAL", go_on)).facts
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    (name,) = facts["wal_segments"]
    assert [path.name for path in (target / "pg_wal").glob("0*")] == [name]
    restored, original = ((place / "pg_wal" / name).read_bytes() for place in (target, standby.data_directory))
    end = Lsn.parse(facts["stop_lsn"]) % len(original)
    assert restored[:end] == original[:end]
    assert restored[end:] == bytes(len(original) - end) != original[end:]
    assert ask(start_restored(make_cluster, primary, target), "SELECT count(*) FROM busy") == 0
