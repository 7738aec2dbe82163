"""Standbys and later timelines as sources, by either method."""

from dataclasses import replace

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, require_sound, sql, start_restored
from tests.integration.backup_restore.stack import At, wait_until
from tests.servers.load import Ledger, compare
from tests.servers.majors import in_pairs
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ServerError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.server import Server
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.capture import _require_checkpointed

BY_EITHER_METHOD = pytest.mark.parametrize("method", ["data_directory", "replication"])


def caught_up(primary, standby):
    """Wait until the standby has replayed what the primary has written."""
    position = ask(primary, "SELECT pg_current_wal_lsn()::text")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))


@in_pairs("method", ["data_directory", "replication"])
def test_backup_of_a_standby_restores_to_a_primary(binaries, make_cluster, make_stack, shared_directory, method):
    primary = make_cluster(binaries)
    standby = make_standby(make_cluster, primary)
    stack = make_stack(standby, service={"method": method})
    with Ledger(primary.conninfo()) as ledger:
        ledger.wait_for(200)
        sql(primary, "CHECKPOINT")
        caught_up(primary, standby)
        snapshot = stack.backup()
        ledger.wait_for(50)
    assert snapshot["facts"]["is_standby"]
    target = shared_directory / "restored"
    plan = stack.succeed("restore", "db", "--target", target).message("restored")
    assert any("standby" in note for note in plan["notes"])
    assert not (target / "standby.signal").exists()

    restored = start_restored(make_cluster, primary, target)
    assert not ask(restored, "SELECT pg_is_in_recovery()")
    due = ledger.commits(until=Lsn.parse(snapshot["facts"]["stop_lsn"]))
    assert sum(len(commit.ids) for commit in due) >= 200
    assert compare(restored.conninfo(), due).is_exact
    require_sound(restored)


def test_files_of_a_standby_under_the_start_and_stop_of_its_primary_are_refused(make_cluster, make_stack):
    """An address that moves with the primary leads there, and both have the same path: the backup would be corrupt."""
    primary = make_cluster(postgres_binaries(15))
    standby = make_standby(make_cluster, primary)
    sql(primary, "CREATE TABLE entry AS SELECT 1 AS id", "CHECKPOINT")
    caught_up(primary, standby)
    sql(standby, "CHECKPOINT")  # both control files tell of the same checkpoint now
    assert ask(primary, _LAST_CHECKPOINT) == ask(standby, _LAST_CHECKPOINT)
    stack = make_stack(primary)
    for server, other in ((primary, standby), (standby, primary)):
        stack.connections = {"db": server.conninfo()}
        stack.service = {"data_directory": str(other.data_directory)}
        stack.write()
        for command in (["backup", "db"], ["wal", "setup", "db"]):
            run = stack.run(*command)
            words = f"{other.data_directory} is not the data directory of the server that answers"
            assert (run.code, words in run.error["message"]) == (1, True), str(run)
        assert stack.snapshots() == []
    stack.service = {"data_directory": str(standby.data_directory)}
    stack.write()
    stack.backup()


_LAST_CHECKPOINT = "SELECT checkpoint_lsn::text FROM pg_control_checkpoint()"


@in_pairs("method", ["replication", "data_directory"])
def test_fault_10_promotion_during_the_backup_voids_it(binaries, make_cluster, make_stack, method):
    primary = make_cluster(binaries)
    standby = make_standby(make_cluster, primary)
    stack = make_stack(standby, service={"method": method})
    promotion = At("copying files", lambda: sql(standby, "SELECT pg_promote(wait => true)"))
    with pytest.raises(ServerError, match="promoted") as caught:
        stack.back_up_here(promotion)
    assert caught.value.hint
    assert stack.snapshots() == []
    stack.check()

    # the promoted server is a source as good as any, on the second timeline
    assert stack.backup()["facts"]["timeline"] == 2


@BY_EITHER_METHOD
def test_fault_10_change_of_timeline_that_a_standby_follows_voids_the_backup(make_cluster, make_stack, method):
    """The server itself says nothing here."""
    primary = make_cluster(postgres_binaries(18))
    middle = make_standby(make_cluster, primary, "middle")
    last = make_standby(make_cluster, middle, "last")
    stack = make_stack(last, service={"method": method})

    def promote():
        sql(middle, "SELECT pg_promote(wait => true)", "CHECKPOINT")
        caught_up(middle, last)

    with pytest.raises(ServerError, match="changed its timeline") as caught:
        stack.back_up_here(At("copying files", promote))
    assert caught.value.hint
    assert stack.snapshots() == []


@in_pairs("method", ["replication", "data_directory"])
def test_timelines_after_the_first_are_restored(binaries, make_cluster, make_stack, shared_directory, method):
    primary = make_cluster(binaries)
    middle = make_standby(make_cluster, primary, "middle")
    last = make_standby(make_cluster, middle, "last")
    sql(primary, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS nr")
    caught_up(primary, middle)
    sql(middle, "SELECT pg_promote(wait => true)", "INSERT INTO t SELECT generate_series(1001, 2000)", "CHECKPOINT")
    caught_up(middle, last)
    for source, name in [(middle, "promoted"), (last, "following")]:
        stack = make_stack(source, name=name, service={"method": method})
        snapshot = stack.backup()
        assert snapshot["facts"]["timeline"] == 2
        target = shared_directory / f"restored-{name}"
        stack.succeed("restore", "db", "--target", target)
        restored = start_restored(make_cluster, primary, target)
        assert ask(restored, "SELECT count(*) FROM t") == 2000
        assert (target / "pg_wal" / "00000002.history").exists()


def test_standby_without_a_restart_point_on_its_timeline_is_refused(quiet_cluster):
    with Server.connect(quiet_cluster.conninfo()) as server:
        facts = server.probe()
    _require_checkpointed(quiet_cluster.data_directory, facts)
    with pytest.raises(ServerError, match="no restart point on timeline 2") as caught:
        _require_checkpointed(quiet_cluster.data_directory, replace(facts, timeline=Timeline(2)))
    assert "CHECKPOINT" in caught.value.hint
