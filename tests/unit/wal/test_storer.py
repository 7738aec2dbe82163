"""Storing beside the receiving: in order, nothing counted that is not durable, each piece in its own segment."""

import os
from concurrent.futures import Future

import pytest

from holdfast import clock
from holdfast.errors import TransientStorageError
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive, WalConflictError
from holdfast.wal.names import WalFileKind, piece_name
from holdfast.wal.pieces import Piece, assembled
from holdfast.wal.segment_buffer import SegmentBuffer
from holdfast.wal.storer import Storer

SIZE = 1 << 20
SEGMENT = Segment(Timeline(1), 7, SIZE)
KEYS = Keys("00" * 16, new_keyring())
CONTENT = os.urandom(SIZE)


class Refusing(MemoryStorage):
    """Refuses to store whatever has a word in its name."""

    refused = "no such word"

    def put(self, name, data, *, must_not_exist=True):
        if self.refused in name:
            raise TransientStorageError(f"put {name}: refused")
        super().put(name, data, must_not_exist=must_not_exist)


@pytest.fixture
def storage():
    return Refusing()


@pytest.fixture
def archive(storage):
    return WalArchive(storage, KEYS, "42")


@pytest.fixture
def make_storer(archive):
    storers = []

    def make(segment=SEGMENT, known=()):
        storers.append(Storer(archive, segment, known))
        return storers[-1]

    yield make
    for storer in storers:
        storer.close()


def filled(length, segment=SEGMENT, content=CONTENT):
    buffer = SegmentBuffer(segment, "/nonexistent")
    buffer.append(segment.start, memoryview(content)[:length])
    return buffer


def settle(storer):
    deadline = clock.monotonic() + 60
    while storer.waiting:
        assert clock.monotonic() < deadline
        clock.sleep(0.001)
    storer.hear()


def names(archive, kind, expected):
    """Return the names of a kind, when deletions have caught up."""
    deadline = clock.monotonic() + 60
    while (found := [file.name for file in archive.list() if file.kind is kind]) != expected:
        assert clock.monotonic() < deadline, found
        clock.sleep(0.001)
    return found


def test_pieces_then_the_whole(archive, make_storer):
    storer, buffer = make_storer(), filled(1000)
    storer.store_piece(buffer)
    settle(storer)
    assert storer.stored == SEGMENT.start + 1000
    buffer.append(buffer.position, memoryview(CONTENT)[1000:])
    assert b"".join(map(bytes, assembled(archive, SEGMENT))) == CONTENT[:1000] + bytes(SIZE - 1000)
    storer.store_segment(buffer)
    settle(storer)
    assert (storer.stored, storer.waiting_segments, storer.busy_s) == (SEGMENT.stop, 0, 0)
    assert archive.get(SEGMENT.name) == CONTENT
    names(archive, WalFileKind.PIECE, [])


def test_nothing_counts_as_stored_beyond_what_failed(storage, make_storer):
    storer = make_storer()
    storer.store_piece(filled(1000))
    settle(storer)
    storage.refused = SEGMENT.name
    storer.store_segment(filled(SIZE))
    following = SEGMENT.next()
    storer.store_piece(filled(10, following))
    with pytest.raises(TransientStorageError):
        settle(storer)
    assert storer.stored == SEGMENT.start + 1000


def test_pieces_of_an_earlier_run_are_compared_and_built_on(archive, make_storer):
    for begin, end in [(0, 500), (500, 900)]:
        archive.push(piece_name(SEGMENT.name, begin, end), CONTENT[begin:end])
    storer = make_storer(known=[Piece(500, 900), Piece(0, 500)])
    storer.store_piece(filled(900))
    settle(storer)
    assert storer.stored == SEGMENT.start + 900
    names(archive, WalFileKind.PIECE, [piece_name(SEGMENT.name, 0, 500), piece_name(SEGMENT.name, 500, 900)])
    storer.store_segment(filled(SIZE))
    settle(storer)
    names(archive, WalFileKind.PIECE, [])


def test_fault_01_other_bytes_in_a_piece_of_an_earlier_run_are_refused(archive, make_storer):
    archive.push(piece_name(SEGMENT.name, 0, 500), bytes(500))
    storer = make_storer(known=[Piece(0, 500)])
    storer.store_piece(filled(900))
    with pytest.raises(WalConflictError):
        settle(storer)
    assert storer.stored == 0


def test_a_failure_can_be_heard_of_as_soon_as_nothing_waits(storage, make_storer, monkeypatch):
    """Whoever waits for the last piece listens once more, and never again."""
    storage.refused, storer, finish = "", make_storer(), Future.set_exception

    def finish_late(task, error):
        clock.sleep(0.05)
        finish(task, error)

    monkeypatch.setattr(Future, "set_exception", finish_late)
    storer.store_piece(filled(1000))
    with pytest.raises(TransientStorageError):
        settle(storer)


def test_a_damaged_piece_is_not_built_on(archive, storage, make_storer):
    name = piece_name(SEGMENT.name, 0, 500)
    archive.push(name, CONTENT[:500])
    (place,) = [info.name for info in storage.list()]
    damaged = bytearray(storage.get(place))
    damaged[-1] ^= 1
    storage.put(place, bytes(damaged), must_not_exist=False)
    storer = make_storer(known=[Piece(0, 500)])
    storer.store_piece(filled(900))
    settle(storer)
    names(archive, WalFileKind.PIECE, [name, piece_name(SEGMENT.name, 0, 900)])
    assert archive.get(piece_name(SEGMENT.name, 0, 900)) == CONTENT[:900]


def test_a_piece_that_reaches_beyond_what_came_in_is_not_trusted(archive, make_storer):
    archive.push(piece_name(SEGMENT.name, 0, 5000), CONTENT[:5000])
    storer = make_storer(known=[Piece(0, 5000)])
    storer.store_piece(filled(900))
    settle(storer)
    assert storer.stored == SEGMENT.start + 900
    assert archive.get(piece_name(SEGMENT.name, 0, 900)) == CONTENT[:900]


def test_the_next_timeline_begins_its_segment_anew(archive, make_storer):
    storer, beyond = make_storer(), Segment(Timeline(2), SEGMENT.number, SIZE)
    storer.store_piece(filled(1000))
    storer.store_piece(filled(1500, beyond))
    settle(storer)
    assert b"".join(map(bytes, assembled(archive, beyond)))[:1500] == CONTENT[:1500]
    storer.store_segment(filled(SIZE, beyond))
    settle(storer)
    names(archive, WalFileKind.PIECE, [piece_name(SEGMENT.name, 0, 1000)])  # all that there will ever be of timeline 1


def test_what_cannot_be_deleted_does_no_harm(archive, storage, make_storer, monkeypatch):
    def refuse(name):
        raise TransientStorageError("locked")

    monkeypatch.setattr(storage, "delete", refuse)
    storer = make_storer()
    storer.store_piece(filled(1000))
    storer.store_segment(filled(SIZE))
    settle(storer)
    assert storer.stored == SEGMENT.stop
