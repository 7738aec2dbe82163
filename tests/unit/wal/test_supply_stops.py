"""What stops recovery, told to a real shell: everything but the end of an archive that is there."""

from __future__ import annotations

import resource
import threading

import pytest
from tests.unit.wal.recovering import (
    DONE,
    KEYS,
    NOT_THERE,
    SIZE,
    STOP,
    SYSTEM,
    make_segment,
    push,
    segment_name,
    wait_until,
)

from holdfast.errors import BusyError, DamageError, KeyRefusedError, StorageError, TargetNotReachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import object_name, piece_name
from holdfast.wal.prefetch import PrefetchLimits
from holdfast.wal.restore_command import SPOOL_NAME, shared_command


def test_a_missing_segment_before_others_stops_recovery(archive, server, supplied):
    push(archive, 1, 2, 4)
    with supplied() as supply:
        answer = server.ask(supply.restore_command, segment_name(3))
        assert (answer.code, segment_name(4) in answer.stderr, "gap" in answer.stderr) == (STOP, True, True)
        assert isinstance(supply.failure, TargetNotReachableError)
        (server.pg_wal / segment_name(3)).write_bytes(make_segment(segment_name(3)))  # from the snapshot itself
        assert server.ask(supply.restore_command, segment_name(3)).code == NOT_THERE
        (server.pg_wal / segment_name(3)).unlink()
        (server.directory / "standby.signal").touch()  # it may stream it, or the archive may get it yet
        assert server.ask(supply.restore_command, segment_name(3)).code == NOT_THERE


def test_a_missing_segment_before_pieces_of_a_later_one_stops_recovery(archive, server, supplied):
    push(archive, 1, 2)
    archive.push(piece_name(segment_name(4), 0, 20000), make_segment(segment_name(4))[:20000])
    with supplied() as supply:
        answer = server.ask(supply.restore_command, segment_name(3))
        assert (answer.code, "gap" in answer.stderr) == (STOP, True)


def test_a_missing_segment_before_the_beginning_of_one_in_which_a_server_was_promoted_stops_recovery(
    archive, server, supplied
):
    push(archive, 1, 2)
    archive.push(f"{segment_name(4)}.partial", make_segment(segment_name(4)))
    with supplied() as supply:
        answer = server.ask(supply.restore_command, segment_name(3))
        assert (answer.code, f"{segment_name(4)}.partial" in answer.stderr) == (STOP, True)


@pytest.mark.parametrize("history_is_given", [False, True])
def test_fault_30_a_missing_end_of_a_timeline_that_was_left_later_stops_recovery(
    archive, server, supplied, history_is_given
):
    """Nothing of timeline 1 after the hole was archived; that it was left in segment 4 says that there was more."""
    push(archive, 1, 2)
    archive.push("00000002.history", f"1\t{Lsn(4 * SIZE + 5000)}\tno recovery target specified\n".encode())
    push(archive, 4, timeline=2)
    with supplied(archive.history(Timeline(2)) if history_is_given else None) as supply:
        assert server.ask(supply.restore_command, segment_name(3)).code == (STOP if history_is_given else NOT_THERE)
        assert server.ask(supply.restore_command, "00000002.history").code == DONE
        answer = server.ask(supply.restore_command, segment_name(3))
        assert (answer.code, "timeline 1 was left after" in answer.stderr) == (STOP, True)
        assert server.ask(supply.restore_command, segment_name(4)).code == NOT_THERE
        assert server.ask(supply.restore_command, segment_name(5)).code == NOT_THERE


def test_fault_12_the_lost_history_of_a_timeline_with_wal_stops_recovery(archive, server, supplied):
    """Told that it is not there, a server takes the timeline for one that never was, and gives its number away."""
    push(archive, 1, 2)
    push(archive, 2, timeline=2)
    archive.push(f"{segment_name(7, timeline=4)}.partial", make_segment(segment_name(7, timeline=4)))
    with supplied() as supply:
        for name, shipped in (("00000002.history", segment_name(2, 2)), ("00000004.history", segment_name(7, 4))):
            answer = server.ask(supply.restore_command, name)
            assert (answer.code, shipped in answer.stderr, f"push {name}" in answer.stderr) == (STOP, True, True)
        assert isinstance(supply.failure, TargetNotReachableError)
        assert server.ask(supply.restore_command, "00000003.history").code == NOT_THERE, "that number is free"
        (server.pg_wal / "00000002.history").touch()  # the server has one itself
        assert server.ask(supply.restore_command, "00000002.history").code == NOT_THERE
        (server.directory / "standby.signal").touch()  # its primary may have it
        assert server.ask(supply.restore_command, "00000004.history").code == NOT_THERE


def test_a_lost_history_that_recovery_needs_not_is_not_there(archive, server, supplied):
    for timeline in (1, 2, 3, 4):
        push(archive, timeline, timeline=timeline)
    archive.push("00000003.history", f"1\t{Lsn(2 * SIZE)}\tno recovery target specified\n".encode())
    with supplied() as supply:
        assert server.ask(supply.restore_command, "00000002.history").code == STOP
        assert server.ask(supply.restore_command, "00000003.history").code == DONE
        assert server.ask(supply.restore_command, "00000002.history").code == NOT_THERE
        assert server.ask(supply.restore_command, "00000004.history").code == STOP
    with supplied(archive.history(Timeline(3))) as supply:
        assert server.ask(supply.restore_command, "00000002.history").code == NOT_THERE
    with supplied(own=Timeline(2)) as supply:
        assert server.ask(supply.restore_command, "00000002.history").code == NOT_THERE
        assert server.ask(supply.restore_command, "00000004.history").code == STOP


def test_a_history_that_comes_while_the_wal_of_its_timeline_is_listed_is_handed_over(
    archive, server, supplied, storage
):
    push(archive, 1)
    push(archive, 2, timeline=2)
    history = f"1\t{Lsn(2 * SIZE)}\tno recovery target specified\n".encode()
    storage.at_next_listing = lambda: archive.push("00000002.history", history)
    with supplied() as supply:
        assert server.ask(supply.restore_command, "00000002.history").code == DONE
    assert server.restored.read_bytes() == history


def test_an_archive_that_holds_nothing_stops_recovery(server, supplied):
    with supplied() as supply:
        answer = server.ask(supply.restore_command, "00000002.history")
    assert (answer.code, "holds no WAL" in answer.stderr) == (STOP, True)


def test_a_repository_that_is_away_stops_recovery(archive, server, supplied, storage):
    push(archive, 1, 2, 3)
    with supplied(limits=PrefetchLimits(segments=1)) as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        wait_until((server.pg_wal / SPOOL_NAME / "ready" / segment_name(2)).exists)
        storage.is_away = True
        assert server.ask(supply.restore_command, segment_name(2)).code == DONE
        for name in (segment_name(3), segment_name(4), "00000002.history"):
            answer = server.ask(supply.restore_command, name)
            assert (answer.code, "the disk is gone" in answer.stderr) == (STOP, True)
        assert isinstance(supply.failure, StorageError)
        (server.directory / "standby.signal").touch()
        answer = server.ask(supply.restore_command, segment_name(3))
        assert answer.code == STOP, "a restore recovers in standby mode, too"
        shared = shared_command(server.pg_wal / SPOOL_NAME, ["false"])
        answer = server.ask(shared, segment_name(3))  # a real standby would shut down; it asks its primary, and again
        assert (answer.code, "the disk is gone" in answer.stderr) == (NOT_THERE, True)
        storage.is_away = False
        assert server.ask(supply.restore_command, segment_name(3)).code == DONE


def test_a_damaged_segment_stops_recovery(archive, server, supplied, storage):
    push(archive, 1, 2)
    name = object_name(SYSTEM, segment_name(2))
    stored = bytearray(storage.get(name))
    stored[-100] ^= 1
    storage.delete(name)
    storage.put(name, stored)
    with supplied() as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        answer = server.ask(supply.restore_command, segment_name(2))
        assert (answer.code, segment_name(2) in answer.stderr) == (STOP, True)
        assert isinstance(supply.failure, DamageError)
    assert not server.restored.exists()


@pytest.mark.parametrize(
    "content",
    [
        make_segment(segment_name(2), system="7000000000000000001"),
        make_segment(segment_name(3)),
        make_segment(segment_name(2))[: SIZE - 1],
        make_segment(segment_name(2))[: SIZE // 2] + make_segment(segment_name(3))[SIZE // 2 :],
        b"",
    ],
    ids=["another cluster", "another segment", "truncated", "half of another", "empty"],
)
def test_a_segment_that_is_not_what_its_name_says_stops_recovery(archive, server, supplied, content):
    archive.push(segment_name(2), content)
    with supplied() as supply:
        assert server.ask(supply.restore_command, segment_name(2)).code == STOP
        assert isinstance(supply.failure, DamageError)


def test_a_writers_credential_stops_recovery(archive, storage, server, supplied):
    push(archive, 1)
    keyring = KEYS.keyring.for_writer()
    with supplied(source=WalArchive(storage, Keys(KEYS.repository_id, keyring), SYSTEM)) as supply:
        answer = server.ask(supply.restore_command, segment_name(1))
        assert (answer.code, "only writes" in answer.stderr) == (STOP, True)
        assert isinstance(supply.failure, KeyRefusedError)


@pytest.mark.parametrize("name", ["../../etc/passwd", "000000010000000000000000000", "00000000.history", "a b c", ""])
def test_odd_names_are_refused(archive, server, supplied, name):
    push(archive, 1)
    with supplied() as supply:
        assert server.ask(supply.restore_command, name).code == STOP


def test_nobody_answers_after_the_end(archive, server, supplied):
    push(archive, 1)
    with supplied() as supply:
        command = supply.restore_command
    assert server.ask(command, segment_name(1)).code == STOP


def test_who_waits_is_let_go_at_the_end(archive, server, supplied, storage):
    push(archive, 1)
    released = threading.Event()
    storage.slow = (segment_name(1), released)
    with supplied() as supply:
        waiting = server.start(supply.restore_command, segment_name(1))
        wait_until(lambda: segment_name(1) in storage.asked)
    assert waiting.wait(60) == STOP  # what it had asked for has not come yet
    waiting.stderr.close()
    released.set()
    assert not server.restored.exists()


def test_only_one_supplies_a_server(archive, supplied):
    push(archive, 1)
    with supplied(), pytest.raises(BusyError), supplied():
        pass


def test_answers_for_a_killed_asker_do_not_reach_the_next(archive, server, supplied, storage):
    push(archive, 1, 5)
    released = threading.Event()
    storage.slow = (segment_name(1), released)
    with supplied() as supply:
        killed = server.start(supply.restore_command, segment_name(1))
        wait_until(lambda: segment_name(1) in storage.asked)
        killed.kill()
        killed.wait()
        killed.stderr.close()
        threading.Timer(0.2, released.set).start()
        assert server.ask(supply.restore_command, segment_name(6)).code == NOT_THERE
        assert server.ask(supply.restore_command, segment_name(5)).code == DONE
        assert server.restored.read_bytes() == make_segment(segment_name(5), fill=5)


def test_a_full_disk_stops_recovery(archive, server, supplied):
    push(archive, 1, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with supplied() as supply:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, limits[1]))
        try:
            answer = server.ask(supply.restore_command, segment_name(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (answer.code, "cannot write into" in answer.stderr) == (STOP, True)
        assert list((server.pg_wal / SPOOL_NAME / "ready").iterdir()) == []
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
