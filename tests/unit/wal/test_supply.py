"""What a server is answered, through a real shell: the file, that it is not there, or that recovery must stop."""

from __future__ import annotations

import resource
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.unit.wal.recovering import OWN_ACCOUNT, SIZE, SYSTEM, Recovering, make_segment, segment_name

from holdfast.errors import BusyError, DamageError, KeyRefusedError, StorageError, TargetNotReachableError
from holdfast.postgres.timeline import Timeline, parse_history
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import object_name, piece_name
from holdfast.wal.prefetch import PrefetchLimits
from holdfast.wal.restore_command import SPOOL_NAME, STOP_EXIT
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = Keys("00" * 16, new_keyring())
STOP, NOT_THERE, DONE = STOP_EXIT, 1, 0
DEFAULT_LIMITS = PrefetchLimits()


class Breakable(MemoryStorage):
    """A storage that can go away, and that can be slow with one object."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.asked: list[str] = []
        self.slow: tuple[str, threading.Event] | None = None

    def get(self, name, **where):
        """Get, or fail as a storage does that cannot be reached."""
        self._require_here(name)
        self.asked.append(name.rpartition("/")[2])
        if self.slow and name.endswith(self.slow[0]):
            self.slow[1].wait(20)
        return super().get(name, **where)

    def list(self, prefix=""):
        """List, or fail."""
        self._require_here(prefix)
        return super().list(prefix)

    def _require_here(self, what: str) -> None:
        if self.is_away:
            raise StorageError(f"get {what}: the disk is gone", hint="mount it")


@pytest.fixture
def storage() -> Breakable:
    return Breakable()


@pytest.fixture
def archive(storage: Breakable) -> WalArchive:
    return WalArchive(storage, KEYS, SYSTEM, threads=1)


@pytest.fixture
def server(tmp_path: Path) -> Recovering:
    server = Recovering(tmp_path / "data it's 100%")
    server.pg_wal.mkdir(parents=True)
    return server


@pytest.fixture
def supplied(archive: WalArchive, server: Recovering) -> Callable[..., WalSupply]:
    """Make a supply: ``with supplied(history=...) as supply``."""

    def make(history=None, limits=DEFAULT_LIMITS, source=archive) -> WalSupply:
        options = SupplyOptions(OWN_ACCOUNT, limits)
        return WalSupply(source, history, server.pg_wal / SPOOL_NAME, SIZE, options)

    return make


def push(archive: WalArchive, *numbers: int, timeline: int = 1) -> None:
    for number in numbers:
        name = segment_name(number, timeline)
        archive.push(name, make_segment(name, fill=number % 256))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


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
    began = time.monotonic()
    assert waiting.wait(10) == STOP
    assert time.monotonic() - began < 2
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
