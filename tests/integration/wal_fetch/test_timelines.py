"""An archive with several timelines: recovery goes the way of its target's history, and no other."""

from __future__ import annotations

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_fetch.worlds import (
    SEGMENT_SIZE,
    push_all,
    recovering,
    require_unpromoted,
    run_to_its_end,
    wait_for_promotion,
)
from tests.servers.postgres import account

from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline
from holdfast.wal.names import WalFileKind, kind_of
from holdfast.wal.restore_command import STOP_EXIT

BRANCHES = {2: ("batch 2", 1), 3: ("batch 4", 1), 4: ("on 2", 2)}
"""New timelines: where each leaves which one."""


@pytest.fixture(scope="module")
def branched(whole_world):
    """The world with timelines 2 and 3 off timeline 1, and 4 off timeline 2; returns what each one must hold."""
    sums = {}
    for timeline, (name, parent) in BRANCHES.items():
        plain = make_place(whole_world.directory, f"plain-{timeline}")
        settings = {
            "recovery_target_name": name,
            "recovery_target_timeline": str(parent),
            "recovery_target_action": "promote",
            "archive_mode": "on",
            "archive_command": f"cp %p {plain}/%f",
        }
        directory = whole_world.copy(f"branch-{timeline}", {})
        with whole_world.supply(directory) as supply:
            server = whole_world.server(directory, restore_command=supply.restore_command, **settings)
            with recovering(server):
                wait_for_promotion(server)
                sql(
                    server,
                    f"CREATE TABLE on_{timeline} AS SELECT i, md5(i::text) FROM generate_series(1, 30000) AS i",
                    f"SELECT pg_create_restore_point('on {timeline}')",
                    "SELECT pg_switch_wal()",
                )
                wait_until(lambda at=server: not ask(at, _UNARCHIVED))
                sums[timeline] = ask(server, "SELECT count(*) FROM entry")
        push_all(whole_world, plain)
    sums[1] = whole_world.rows
    return sums


_UNARCHIVED = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"


@pytest.mark.parametrize(
    ("target", "tables"),
    [("1", []), ("2", [2]), pytest.param("3", [3], marks=pytest.mark.slow), ("4", [2, 4]), ("latest", [2, 4])],
)
@pytest.mark.parametrize("history_is_given", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fault_12_recovery_follows_the_history(
    whole_world, branched, shared_directory, target, tables, history_is_given
):
    timeline = 4 if target == "latest" else int(target)
    history = whole_world.archive.history(Timeline(timeline)) if history_is_given else None
    directory = whole_world.copy(f"copy-{target}-{history_is_given}", {})
    with whole_world.supply(directory, history) as supply:
        server = whole_world.server(directory, restore_command=supply.restore_command, recovery_target_timeline=target)
        with recovering(server):
            wait_for_promotion(server)
            assert ask(server, "SELECT count(*) FROM entry") == branched[timeline]
            found = ask(server, "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE relname ~ '^on_'")
            assert (found or []) == [f"on_{number}" for number in tables]
    assert supply.failure is None


def test_fault_12_an_old_timeline_is_not_followed_past_its_end(world, branched):
    """Timeline 2 was begun, and died before it archived a segment; the old primary went on, on timeline 1."""
    for file in world.archive.list(Timeline(2)):
        if kind_of(file.name) is not WalFileKind.HISTORY:
            world.stored(file.name).unlink()
    directory = world.copy("copy", {})
    with world.supply(directory) as supply:
        server = world.server(directory, restore_command=supply.restore_command, recovery_target_timeline="2")
        with recovering(server):
            wait_for_promotion(server)
            assert ask(server, "SELECT count(*) FROM entry") == branched[2]


def test_fault_30_the_lost_tail_of_an_old_timeline_is_not_taken_for_the_end(world, branched):
    """Nobody archived it, and nothing of timeline 1 follows it: that timeline 2 left it later is all that tells."""
    left = world.archive.history(Timeline(2)).entries[0].end
    last = Segment(Timeline(1), left // SEGMENT_SIZE - 1, SEGMENT_SIZE)
    for file in world.archive.list(Timeline(1)):
        if file.segment_name >= last.name:
            world.stored(file.name).unlink()
    directory = world.copy("copy", {})
    with world.supply(directory) as supply:
        server = world.server(directory, restore_command=supply.restore_command, recovery_target_timeline="2")
        log = run_to_its_end(server)
    assert f"timeline 1 was left after {last.name}" in log, log
    require_unpromoted(directory)


def test_fault_12_a_timeline_whose_history_is_lost_is_not_passed_over(world, branched):
    """The server would stay on timeline 1, lose what timelines 2 and 4 have, and be promoted as another timeline 2."""
    world.stored("00000002.history").unlink()
    directory = world.copy("copy", {})
    with world.supply(directory) as supply:
        server = world.server(directory, restore_command=supply.restore_command)
        assert "but not 00000002.history" in run_to_its_end(server)
    require_unpromoted(directory)
    stand_in = directory / "pg_wal" / "00000002.history"
    stand_in.touch()  # as the hint says, to leave the timeline aside
    account().take_over(stand_in)
    with world.supply(directory) as supply:
        settings = {"restore_command": supply.restore_command, "recovery_target_timeline": "current"}
        with recovering(world.server(directory, **settings)) as server:
            wait_for_promotion(server)
            assert ask(server, "SELECT count(*) FROM entry") == branched[1]
            assert ask(server, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") == "00000005"


def test_a_person_is_told_of_a_lost_history(world, branched, tmp_path):
    world.stored("00000002.history").unlink()
    run = world.stack.run("wal", "fetch", "db", "00000002.history", tmp_path / "history")
    assert (run.code, "but not 00000002.history" in run.error["message"]) == (STOP_EXIT, True)
    run = world.stack.run("wal", "fetch", "db", "00000005.history", tmp_path / "history")
    assert (run.code, run.message("wal_fetched")["outcome"]) == (1, "absent")
