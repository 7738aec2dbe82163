"""A primary and its standby both archive; the standby is promoted, and both go on: one archive, two timelines."""

from __future__ import annotations

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_status.archiving import (
    NOTHING_WAITS,
    SEGMENT_SIZE,
    kinds,
    look,
    make_archiving_stack,
    make_origin,
    open_archive,
    outbox,
    push,
    set_archive_command,
    write_segments,
)
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.points import restorable_points
from holdfast.wal.coverage import survey


@pytest.mark.parametrize("major", [15, 18])
def test_fault_12_failover_with_both_archiving(major, make_cluster, shared_directory):
    origin = make_origin(make_cluster, postgres_binaries(major))
    standby = make_standby(make_cluster, origin)
    stack = make_archiving_stack(shared_directory, origin)
    stack.backup()
    write_segments(origin, 1, 2, 3)
    caught_up = ask(origin, "SELECT pg_current_wal_lsn()::text")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{caught_up}'"))
    sql(standby, "SELECT pg_promote()")
    write_segments(standby, 100, 101, 102)
    target = ask(standby, "SELECT pg_current_wal_insert_lsn()::text")
    write_segments(standby, 103)
    write_segments(origin, 4, 5, 6, 7, 8)
    wait_until(lambda: ask(standby, NOTHING_WAITS))

    of_origin, of_standby = outbox(origin), outbox(standby)
    both = {path.name for path in of_origin} & {path.name for path in of_standby}
    assert both, "the standby archived nothing that the primary had archived too"
    assert any(path.name.endswith(".partial") or path.name.endswith("2.history") for path in of_standby)
    lost = [path for path in of_origin if path.name not in both and len(path.name) == 24][1:3]
    push(stack, [path for path in of_origin if path not in lost])
    push(stack, of_standby)

    message = look(stack, code=3)
    assert kinds(message) == ["gap"]
    (gap,) = message["gaps"]
    assert (gap["first_segment"], gap["last_segment"]) == (lost[0].name, lost[-1].name)
    push(stack, lost)

    message = look(stack)
    assert message["gaps"] == message["conflicts"] == []
    first, second = message["windows"]
    assert (first["timeline"], second["timeline"], second["start_timeline"]) == (1, 2, 1)
    assert first["start_lsn"] == second["start_lsn"]
    own = sorted(path.name for path in of_origin if len(path.name) == 24)
    assert message["timelines"][0]["last_segment"] == own[-1]
    assert Lsn.parse(second["end_lsn"]) > Lsn.parse(target)
    assert message["timelines"][1]["branches"][0]["parent"] == 1
    require_recovers(make_cluster, stack, origin, shared_directory, Lsn.parse(target))


def require_recovers(make_cluster, stack, origin: LocalCluster, directory, target: Lsn) -> None:
    """Recover a real server onto timeline 2 with nothing but the files that the proof names."""
    (snapshot,) = stack.open().snapshots()
    identifier = snapshot.facts["system_identifier"]
    archive = open_archive(stack, identifier)
    (point,) = restorable_points([snapshot], identifier)
    proof = survey(archive, [point], snapshot.facts["wal_segment_size"]).prove(point, target, Timeline(2))
    proven = directory / "proven"
    proven.mkdir()
    for name in (*proof.files(), "00000002.history"):
        (proven / name).write_bytes(archive.get(name))
    restored = directory / "restored"
    stack.succeed("restore", "db", "--target", restored)
    (restored / "recovery.signal").touch()
    account().take_over(restored / "recovery.signal")
    settings = {
        "archive_mode": "off",
        "restore_command": f"cp {proven}/%f %p",
        "recovery_target_lsn": str(target),
        "recovery_target_timeline": "2",
        "recovery_target_action": "promote",
    }
    cluster = make_cluster.adopt(LocalCluster(origin.binaries, restored, account=account(), settings=settings))
    wait_until(lambda: not ask(cluster, "SELECT pg_is_in_recovery()"))
    assert ask(cluster, "SELECT array_agg(n ORDER BY n) FROM entry") == [1, 2, 3, 100, 101, 102]


@pytest.mark.slow
def test_fault_30_the_tail_of_the_old_timeline_that_nobody_archived_is_a_gap(make_cluster, shared_directory):
    """The standby streamed it, and archives only from its promotion on; the old primary is rewound, or lost."""
    origin = make_origin(make_cluster, postgres_binaries(15))
    standby = make_standby(make_cluster, origin)
    sql(standby, "ALTER SYSTEM SET archive_mode = 'on'")
    standby.restart()
    stack = make_archiving_stack(shared_directory, origin)
    stack.backup()
    write_segments(origin, 1)
    push(stack, outbox(origin))
    last_archived = Lsn.parse(look(stack)["windows"][0]["end_lsn"])
    set_archive_command(origin, "false")
    for number in (2, 3, 4):
        sql(origin, f"INSERT INTO entry VALUES ({number})", "SELECT pg_switch_wal()")
    sql(origin, "INSERT INTO entry VALUES (5)")
    end = ask(origin, "SELECT pg_current_wal_flush_lsn()::text")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{end}'"))
    origin.stop(StopMode.IMMEDIATE)
    for path in (origin.data_directory / "pg_wal" / "archive_status").glob("*.ready"):
        path.unlink()  # as after pg_rewind: a push would ship what still waits
    sql(standby, "SELECT pg_promote()")
    write_segments(standby, 100, 101)
    push(stack, outbox(standby))

    message = look(stack, code=3)
    assert kinds(message) == ["gap"]
    (gap,) = message["gaps"]
    (branch,) = message["timelines"][-1]["branches"]
    switch = Lsn.parse(branch["lsn"])
    assert (gap["timeline"], gap["start_lsn"]) == (1, str(last_archived))
    assert Lsn.parse(gap["end_lsn"]) == switch - switch % SEGMENT_SIZE
    assert [window["timeline"] for window in message["windows"]] == [1]
