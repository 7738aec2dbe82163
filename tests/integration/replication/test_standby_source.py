"""Standbys as sources in odd states: without their primary, with summaries of their own, closed to readers."""

import json

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, relation_files, sql, start_restored
from tests.integration.backup_restore.stack import At, wait_until
from tests.integration.backup_restore.test_standby import caught_up
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.initdb import add_settings

ROWS = "SELECT count(*) FROM t"


@pytest.mark.parametrize(("major", "when"), [(15, "before"), (15, "copying files"), (18, "copying WAL")])
def test_standby_whose_primary_is_gone(major, when, make_cluster, make_stack, shared_directory):
    """All that it has replayed is there; nobody waits for WAL that will not come."""
    primary = make_cluster(postgres_binaries(major), settings={"autovacuum": "off"})
    standby = make_standby(make_cluster, primary)
    sql(primary, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i", "CHECKPOINT", "INSERT INTO t VALUES (0)")
    caught_up(primary, standby)
    stack = make_stack(standby)
    if when == "before":
        primary.stop()
    snapshot = stack.back_up_here(At(when, primary.stop))
    assert (snapshot.is_complete, snapshot.is_clean, snapshot.facts["is_standby"]) == (True, True, True)
    stack.succeed("restore", "db", "--target", shared_directory / "restored")
    standby.stop()
    restored = start_restored(make_cluster, primary, shared_directory / "restored")
    assert (ask(restored, ROWS), ask(restored, "SELECT pg_is_in_recovery()")) == (1001, False)


@pytest.mark.parametrize("major", [17, 18])
def test_summaries_of_a_standby_that_follows_are_not_followed(major, make_cluster, make_stack, shared_directory):
    """It writes them, of the WAL that it receives; a backup reads all pages all the same, and says why."""
    settings = {"autovacuum": "off", "summarize_wal": "on"}
    primary = make_cluster(postgres_binaries(major), settings=settings, has_checksums=True)
    standby = make_standby(make_cluster, primary)
    sql(primary, "CREATE TABLE t AS SELECT i, repeat('x', 900) AS x FROM generate_series(1, 9000) AS i", "CHECKPOINT")
    stack = make_stack(standby, service={"wal_summaries": "hint"})
    reason = "the server is a standby"
    assert reason in json.dumps(stack.succeed("config", "validate").messages)
    for number in range(2):
        sql(primary, f"UPDATE t SET x = repeat('{number}', 900) WHERE i % 100 = {number}", "CHECKPOINT")
        caught_up(primary, standby)
        sql(standby, "CHECKPOINT")
        facts = stack.backup()["facts"]
    assert facts["wal_summaries"].startswith(f"not followed: {reason}")
    wait_until(lambda: ask(standby, "SELECT count(*) FROM pg_available_wal_summaries()") > 0)
    assert 0 < facts["changed_page_count"] < 400
    primary.stop()
    standby.stop()
    stack.succeed("restore", "db", "--target", shared_directory / "restored")
    on_disk, restored = relation_files(standby.data_directory), relation_files(shared_directory / "restored")
    assert [path for path in restored if restored[path] != on_disk[path]] == []


def test_standby_that_lets_nobody_read_is_refused(make_cluster, make_stack):
    primary = make_cluster(postgres_binaries(15))
    standby = make_standby(make_cluster, primary)
    standby.stop()
    add_settings(standby.data_directory / "postgresql.conf", {"hot_standby": "off"})
    standby.launch()
    stack = make_stack(standby)
    wait_until(lambda: "consistent recovery state reached" in standby.log().rpartition("starting PostgreSQL")[2])
    run = stack.run("backup", "db")
    assert (run.code, run.error["error"]) == (1, "ServerUnreachableError")
    assert "Hot standby mode is disabled" in run.error["message"]
    assert run.error["hint"] == "set hot_standby = on and restart the server, or back its primary up"
    assert stack.snapshots() == []
