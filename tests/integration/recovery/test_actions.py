"""What becomes of the cluster at its target: through the real command line, on one timeline and across them."""

import os
import subprocess

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, require_sound
from tests.integration.backup_restore.stack import wait_until
from tests.integration.recovery.world import xids_of
from tests.servers.postgres import account

from holdfast.postgres.control import ClusterState, read_control_file
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.lsn import Lsn
from holdfast.restore.marker import read_marker


@pytest.fixture
def target(past):
    """A directory for one restore."""
    return past.directory / f"restored{os.urandom(4).hex()}"


def archived(past):
    return sorted(path.name for path in (past.stack.place / "wal").rglob("*") if path.is_file())


def started(past, target):
    return LocalCluster(past.world.server.binaries, target, account=account())


def committed_before(past, timeline, lsn):
    truth = past.world.truth(timeline)
    return {end.xid for end in truth.ends if end.is_commit and end.lsn < lsn} & past.world.attempted


def test_promoted_it_starts_plainly_on_a_timeline_of_its_own(past, target):
    before = archived(past)
    end = past.world.truth(4).ends[-60]
    message = past.stack.succeed("restore", "db", "--target", target, "--to", f"xid:{end.xid}").message("recovered")
    assert message["timelines"][-1] == 4
    assert (message["reached_timeline"], message["new_timeline"]) == (4, 5)
    assert f"after commit of transaction {end.xid}," in message["stopped"]
    assert message["last_commit"] == end.time.isoformat()
    assert read_control_file(target).state is ClusterState.SHUT_DOWN
    assert not list(target.glob("*.signal"))
    assert not (target / "pg_wal" / "holdfast-supply").exists()
    marked = read_marker(target).recovered
    assert (marked["target"], marked["lsn"]) == (f"transaction {end.xid}", message["reached_lsn"])
    with started(past, target) as cluster:
        assert xids_of(cluster.conninfo()) == committed_before(past, 4, end.lsn + 1)
        assert ask(cluster, "SELECT pg_is_in_recovery()") is False
        assert ask(cluster, "SELECT current_setting('archive_mode')") == "off"
        assert (
            ask(cluster, "SELECT count(*) FROM pg_settings WHERE name LIKE 'recovery_target%' AND setting ~ '[0-9]'")
            == 0
        )
        require_sound(cluster)
    assert archived(past) == before


def test_fault_12_a_promotion_does_not_give_away_the_number_of_a_timeline_whose_history_is_lost(past, target):
    """Its WAL would be refused, name by name, and the history file of the wrong one accepted."""
    (stored,) = (past.stack.place / "wal").rglob("00000002.history")
    stored.rename(target.with_suffix(".history"))
    try:
        arguments = ["--to", "name:on-1", "--timeline", 1]
        message = past.stack.succeed("restore", "db", "--target", target, *arguments).message("recovered")
    finally:
        target.with_suffix(".history").rename(stored)
    assert (message["reached_timeline"], message["new_timeline"]) == (1, 5)


def test_paused_it_waits_and_can_go_on_from_there(past, target):
    message = past.stack.succeed("restore", "db", "--target", target, "--to", "name:on-2", "--action", "pause").message(
        "recovered"
    )
    lsn = past.world.truth(4).points["on-2"]
    try:
        with psycopg.connect(message["conninfo"], autocommit=True) as connection:
            assert connection.execute("SELECT pg_is_in_recovery(), pg_get_wal_replay_pause_state()").fetchone() == (
                True,
                "paused",
            )
            assert xids_of(message["conninfo"]) == committed_before(past, 4, lsn)
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
            assert connection.execute("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)").fetchone() == (
                "00000005",
            )
    finally:
        pg_ctl = past.world.server.binaries.program("pg_ctl")
        subprocess.run(
            [pg_ctl, "-D", target, "stop"], check=True, capture_output=True, cwd="/", **account().child_identity()
        )
    assert read_control_file(target).state is ClusterState.SHUT_DOWN


def test_shut_down_it_is_still_in_recovery(past, target):
    past.stack.succeed("restore", "db", "--target", target, "--to", "name:on-4", "--action", "shutdown")
    assert read_control_file(target).state is ClusterState.SHUT_DOWN_IN_RECOVERY
    with started(past, target) as cluster:
        with psycopg.connect(cluster.conninfo()) as connection:
            end = connection.execute(
                "SELECT min_recovery_end_lsn::text, min_recovery_end_timeline FROM pg_control_recovery()"
            ).fetchone()
        assert Lsn.parse(end[0]) > past.world.truth(4).points["on-4"]
        assert end[1] == 4
        wait_until(lambda: ask(cluster, "SELECT pg_get_wal_replay_pause_state()") == "paused")
        assert xids_of(cluster.conninfo()) == committed_before(past, 4, past.world.truth(4).points["on-4"])
        assert ask(cluster, "SELECT pg_promote()") is True
        assert ask(cluster, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") == "00000005"


def test_latest_is_all_that_was_archived_on_each_timeline(past, target):
    for timeline in (2, 4):
        place = target / str(timeline)
        target.mkdir(exist_ok=True)
        account().take_over(target)
        message = past.stack.succeed(
            "restore", "db", "--target", place, "--to", "latest", "--timeline", timeline
        ).message("recovered")
        assert message["reached_timeline"] == timeline
        with started(past, place) as cluster:
            assert xids_of(cluster.conninfo()) == committed_before(past, timeline, 2**63)


def test_immediate_is_the_end_of_the_snapshot(past, target):
    oldest = past.stack.snapshots()[0]
    message = past.stack.succeed(
        "restore", "db", "--target", target, "--to", "immediate", "--snapshot", oldest["id"][:8]
    ).message("recovered")
    assert (message["snapshot"], message["wal_segments"]) == (oldest["id"], 0)
    assert (message["reached_timeline"], message["new_timeline"]) == (1, 5)


def test_the_newest_snapshot_before_the_target_is_chosen(past, target):
    ids = [each["id"] for each in past.stack.snapshots()]
    for name, number in (("on-1", 0), ("on-2", 0), ("on-3", 1), ("on-4", 2)):
        plan = past.stack.succeed("restore", "db", "--target", target, "--to", f"name:{name}", "--dry-run").message(
            "recovery_plan"
        )
        assert plan["snapshot"] == ids[number], name
        assert plan["wal_segments"] > 0
        assert plan["estimated_s"] > 0
    assert not target.exists()


def test_fault_15_a_pause_is_one_though_the_cluster_has_hot_standby_off(past, target):
    prepared = past.prepare(_named("on-1"), target)
    past.restored(prepared)
    add_settings(target / "postgresql.conf", {"hot_standby": "off", "recovery_target_time": "2020-01-01"})
    with _recovered(prepared, target) as server:
        with psycopg.connect(server.conninfo()) as connection:
            assert connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",)
        assert not server.reached.has_ended


def test_settings_that_were_raised_after_the_snapshot_do_not_end_recovery(past, target):
    prepared = past.prepare(_named("on-1"), target)
    past.restored(prepared)
    lowered = {"max_connections": "5", "max_worker_processes": "2", "max_wal_senders": "3"}
    add_settings(target / "postgresql.conf", lowered)
    prepared.restore.facts.recovery_settings.clear()
    with _recovered(prepared, target) as server, psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("SELECT current_setting('max_connections')").fetchone() == ("20",)
        assert server.log().count("starting PostgreSQL") > 1, "what was missed is in the log of the first one"


def _named(name):
    from holdfast.restore.target import NameGoal, RecoveryTarget

    return RecoveryTarget(NameGoal(name))


def _recovered(prepared, target):
    from holdfast.operations.recovery.run import recovered
    from holdfast.progress import Silence

    return recovered(prepared, target, Silence())
