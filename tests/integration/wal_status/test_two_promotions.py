"""Two standbys are promoted in one segment: both archive the beginning of it that they have, under the same name.

``CleanupAfterArchiveRecovery`` (src/backend/access/transam/xlog.c) calls it ``<segment>.partial``, of the timeline that
was left: nothing in that name tells one promotion from another.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_status.archiving import (
    NOTHING_WAITS,
    look,
    make_archiving_stack,
    make_origin,
    open_archive,
    outbox,
    push,
    write_segments,
)
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.wal.names import WalFileKind


@pytest.fixture
def promoted(make_cluster, shared_directory):
    """A stack with a backup, and two standbys that were promoted in one segment, one row after another."""
    origin = make_origin(make_cluster, postgres_binaries(15))
    first, second = (make_standby(make_cluster, origin, name) for name in ("first", "second"))
    stack = make_archiving_stack(shared_directory, origin)
    stack.backup()
    write_segments(origin, 1)
    promote_after(origin, first, 2)
    history = first.data_directory / "pg_wal" / "00000002.history"
    known = shutil.copy(history, second.data_directory / "pg_wal")  # as its restore_command would
    account().take_over(known)
    promote_after(origin, second, 3)
    push(stack, outbox(origin))
    origin.stop(StopMode.IMMEDIATE)  # the segment is never completed
    return stack, first, second


def promote_after(origin: LocalCluster, standby: LocalCluster, row: int) -> None:
    """Write a row that stays in the segment that is being written, and promote a standby that has it."""
    sql(origin, f"INSERT INTO entry VALUES ({row})")
    end = ask(origin, "SELECT pg_current_wal_flush_lsn()::text")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{end}'"))
    sql(standby, "SELECT pg_promote()")
    write_segments(standby, row * 100)
    wait_until(lambda: ask(standby, NOTHING_WAITS))


def only_partial(standby: LocalCluster):
    """Return the one ``.partial`` that a standby has archived."""
    (partial,) = [path for path in outbox(standby) if path.suffix == ".partial"]
    return partial


def test_fault_01_a_second_beginning_of_a_segment_is_kept_beside_the_first(make_cluster, promoted, shared_directory):
    stack, first, second = promoted
    one, other = only_partial(first), only_partial(second)
    assert one.name == other.name
    assert one.read_bytes() != other.read_bytes()
    push(stack, outbox(first))
    for _ in range(2):  # PostgreSQL may ask again
        push(stack, outbox(second))

    archive = open_archive(stack, stack.open().snapshots()[-1].facts["system_identifier"])
    assert bytes(archive.get(one.name)) == one.read_bytes()
    (beside,) = [each.name for each in archive.list() if each.kind is WalFileKind.OTHER_PARTIAL]
    assert bytes(archive.get(beside)) == other.read_bytes()
    message = look(stack)
    assert message["other_partials"] == [beside]
    assert message["conflicts"] == []
    words = subprocess.run(stack.command("wal", "status"), env=stack.environment, capture_output=True, check=True)
    assert b"2 beginnings of " in words.stdout

    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--to", "latest", "--timeline", "1")
    with LocalCluster(first.binaries, target, account=account(), settings={"archive_mode": "off"}) as restored:
        assert ask(restored, "SELECT array_agg(n ORDER BY n) FROM entry") == [1, 2, 3]
