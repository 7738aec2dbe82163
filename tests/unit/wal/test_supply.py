"""What a server is handed over, through a real shell: whole segments, fetched ahead, and the beginning of the last."""

from __future__ import annotations

import threading
import time

import pytest
from tests.unit.wal.recovering import (
    DONE,
    NOT_THERE,
    SIZE,
    STOP,
    SYSTEM,
    make_segment,
    push,
    segment_name,
    wait_until,
)

from holdfast.postgres.timeline import Timeline, parse_history
from holdfast.wal.names import object_name, piece_name
from holdfast.wal.prefetch import PrefetchLimits
from holdfast.wal.restore_command import SPOOL_NAME


def test_segments_arrive_whole_and_are_fetched_ahead(archive, server, supplied, storage):
    push(archive, *range(1, 30))
    ready = server.pg_wal / SPOOL_NAME / "ready"
    with supplied() as supply:
        for number in range(1, 30):
            assert server.ask(supply.restore_command, segment_name(number)).code == DONE
            assert server.restored.read_bytes() == make_segment(segment_name(number), fill=number)
            wait_until(lambda at=number + 1: at > 29 or (ready / segment_name(at)).exists())
        wait_until(lambda: supply.served.segments == 29)
        assert supply.served.waits == 1
        assert supply.served.size_bytes == 29 * SIZE
        assert supply.served.last == segment_name(29)
        assert server.ask(supply.restore_command, segment_name(30)).code == NOT_THERE
        assert supply.failure is None
    assert storage.asked.count(segment_name(15)) == 1
    assert not any(server.pg_wal.glob(f"{SPOOL_NAME}*"))


@pytest.mark.parametrize(
    ("limits", "expected"), [(PrefetchLimits(segments=4), 4), (PrefetchLimits(size_bytes=SIZE * 2), 2)]
)
def test_no_more_is_fetched_ahead_than_allowed(archive, server, supplied, limits, expected):
    push(archive, *range(1, 30))
    with supplied(limits=limits) as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        ready = server.pg_wal / SPOOL_NAME / "ready"
        wait_until(lambda: len(list(ready.glob("0*"))) == expected)
        time.sleep(0.05)
        assert sorted(path.name for path in ready.iterdir()) == [segment_name(n) for n in range(2, 2 + expected)]


def test_wrong_guesses_are_dropped(archive, server, supplied):
    push(archive, *range(1, 60))
    with supplied(limits=PrefetchLimits(segments=3)) as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        ready = server.pg_wal / SPOOL_NAME / "ready"
        wait_until(lambda: {path.name for path in ready.iterdir()} == {segment_name(n) for n in (2, 3, 4)})
        assert server.ask(supply.restore_command, segment_name(40)).code == DONE
        wait_until(lambda: {path.name for path in ready.iterdir()} == {segment_name(n) for n in (41, 42, 43)})


def test_what_is_on_its_way_is_not_fetched_twice(archive, server, supplied, storage):
    push(archive, 1, 2)
    released = threading.Event()
    storage.slow = (segment_name(2), released)
    with supplied() as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        wait_until(lambda: segment_name(2) in storage.asked)
        threading.Timer(0.2, released.set).start()
        assert server.ask(supply.restore_command, segment_name(2)).code == DONE
        assert server.restored.read_bytes() == make_segment(segment_name(2), fill=2)
    assert storage.asked.count(segment_name(2)) == 1


def test_a_history_file_is_handed_over_and_shows_the_way(archive, server, supplied, storage):
    push(archive, 1, 2, 3, 4, 5)
    push(archive, 3, 4, timeline=2)
    history = f"1\t0/{3 * SIZE + 8192 * 3:X}\tno recovery target specified\n".encode()
    archive.push("00000002.history", history)
    with supplied() as supply:
        assert server.ask(supply.restore_command, "00000002.history").code == DONE
        assert server.restored.read_bytes() == history
        assert server.ask(supply.restore_command, "00000003.history").code == NOT_THERE
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        ready = server.pg_wal / SPOOL_NAME / "ready"
        expected = {segment_name(2), segment_name(3, 2), segment_name(4, 2)}
        wait_until(lambda: {path.name for path in ready.iterdir()} == expected)
        assert segment_name(3) not in storage.asked


def test_fault_12_an_older_timeline_is_not_read_past_the_point_where_it_was_left(archive, server, supplied):
    """PostgreSQL falls back on timeline 1's segment where timeline 2's is missing, and would replay all of it."""
    push(archive, 3)
    left_at = 3 * SIZE + 8192 * 3 + 400
    history = parse_history(Timeline(2), f"1\t0/{left_at:X}\tsplit\n")
    with supplied(history) as supply:
        assert server.ask(supply.restore_command, segment_name(3, 2)).code == NOT_THERE
        assert server.ask(supply.restore_command, segment_name(3)).code == DONE
    whole, own = make_segment(segment_name(3), fill=3), left_at - 3 * SIZE
    assert server.restored.read_bytes() == whole[:own] + bytes(SIZE - own)


def test_pieces_are_handed_over_padded_and_never_kept(archive, server, supplied):
    push(archive, 1)
    name, whole = segment_name(2), make_segment(segment_name(2), fill=9)
    archive.push(piece_name(name, 0, 20000), whole[:20000])
    archive.push(piece_name(name, 20000, 30001), whole[20000:30001])
    archive.push(piece_name(name, 50000, 60000), whole[50000:60000])
    with supplied() as supply:
        assert server.ask(supply.restore_command, segment_name(1)).code == DONE
        assert server.ask(supply.restore_command, name).code == DONE
        assert server.restored.read_bytes() == whole[:30001] + bytes(SIZE - 30001)
        assert (supply.served.last, supply.served.part_bytes) == (name, 30001)
        archive.push(piece_name(name, 30001, 40000), whole[30001:40000])
        archive.push(piece_name(name, 0, 33000), whole[:33000])
        assert server.ask(supply.restore_command, name).code == DONE
        assert server.restored.read_bytes() == whole[:40000] + bytes(SIZE - 40000)
        archive.push(name, whole)
        assert server.ask(supply.restore_command, name).code == DONE
        assert server.restored.read_bytes() == whole


def test_pieces_that_the_whole_segment_replaces_meanwhile_do_not_look_absent(archive, server, supplied, storage):
    push(archive, 1)
    name = segment_name(2)
    archive.push(piece_name(name, 0, 20000), make_segment(name, fill=2)[:20000])

    def become_whole() -> None:
        push(archive, 2)
        archive.delete_piece(piece_name(name, 0, 20000))

    with supplied() as supply:
        storage.at_next_listing = become_whole
        assert server.ask(supply.restore_command, name).code == DONE
        assert server.restored.read_bytes() == make_segment(name, fill=2)


@pytest.mark.parametrize(("absent", "code"), [(401, NOT_THERE), (200, STOP)])
def test_of_a_large_archive_only_what_lies_around_is_listed(archive, server, supplied, storage, absent, code):
    """A standby asks for the segment after the last one every few seconds."""
    for number in {*range(1, 401)} - {absent}:
        storage.put(object_name(SYSTEM, segment_name(number)), b"sealed")
    with supplied() as supply:
        assert server.ask(supply.restore_command, segment_name(absent)).code == code
    assert storage.listed < 20


@pytest.mark.parametrize(("partial_bytes", "piece_bytes"), [(30000, 20000), (20000, 30000)])
def test_of_a_partial_segment_and_pieces_the_longer_is_taken(archive, server, supplied, partial_bytes, piece_bytes):
    name, whole = segment_name(2), make_segment(segment_name(2), fill=9)
    archive.push(f"{name}.partial", whole[:partial_bytes].ljust(SIZE, b"\0"))
    archive.push(piece_name(name, 0, piece_bytes), whole[:piece_bytes])
    with supplied() as supply:
        assert server.ask(supply.restore_command, name).code == DONE
    assert server.restored.read_bytes() == whole[:30000] + bytes(SIZE - 30000)


def test_the_servers_own_segment_is_kept_when_it_has_no_less(archive, server, supplied):
    """A restored file would take its place; an operator put it there, from the disk of the broken server."""
    name, whole = segment_name(2), make_segment(segment_name(2), fill=9)
    archive.push(piece_name(name, 0, 30000), whole[:30000])
    own = server.pg_wal / name
    with supplied() as supply:
        own.write_bytes(whole[:50000].ljust(SIZE, b"\0"))
        assert server.ask(supply.restore_command, name).code == NOT_THERE
        own.write_bytes(whole[:20000].ljust(SIZE, b"\0"))
        assert server.ask(supply.restore_command, name).code == DONE
        assert server.restored.read_bytes() == whole[:30000] + bytes(SIZE - 30000)
