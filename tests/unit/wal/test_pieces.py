"""Pieces make up a segment again, whatever a receiver left; few stay while it fills, and none is deleted too early."""

import os
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import DamageError, NotFoundError
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import ArchivedFile, kind_of, piece_name
from holdfast.wal.pieces import Piece, assembled, covering, next_piece, pieces_of, superseded

SIZE = 1 << 20
SEGMENT = Segment(Timeline(1), 7, SIZE)
KEYS = Keys("00" * 16, new_keyring())
NOISE = os.urandom(SIZE)
RANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 80)).map(lambda r: Piece(r[0], r[0] + r[1])))


def listed(*names):
    return [ArchivedFile(name, kind_of(name), 1, datetime(2026, 1, 1, tzinfo=UTC)) for name in names]


def reach(pieces):
    """How far the bytes from 0 on are there, byte by byte."""
    held = {byte for piece in pieces for byte in range(piece.begin, piece.end)}
    return next(byte for byte in range(1000) if byte not in held)


@given(RANGES)
def test_covering_reaches_as_far_as_the_bytes_do(pieces):
    chosen = covering(pieces)
    assert (chosen[-1].end if chosen else 0) == reach(pieces) == reach(chosen)
    assert set(chosen) <= set(pieces)
    assert all(before.end < after.end and after.begin <= before.end for before, after in pairwise(chosen))


@given(RANGES, st.booleans())
def test_what_is_superseded_may_go(pieces, is_whole):
    files = listed(*(piece.name(SEGMENT.name) for piece in set(pieces)), *([SEGMENT.name] if is_whole else []))
    gone = set(superseded(files))
    left = pieces_of([file for file in files if file.name not in gone], SEGMENT.name)
    if is_whole:
        assert left == []
    else:
        assert reach(left) == reach(pieces)
    assert all("piece" in name for name in gone)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=400), st.integers(100, 20000))
def test_a_segment_that_fills_in_small_steps_has_few_pieces(steps, limit):
    stored, deleted, written, end = [], set(), 0, 0
    for step in steps:
        end += step
        piece, absorbed = next_piece(stored, end, limit)
        assert piece.end == end
        stored = [each for each in stored if each not in absorbed] + [piece]
        deleted |= set(absorbed)
        written += piece.length
        assert reach_of(stored) == end
    # a piece absorbs what is no longer than itself, up to the limit: small ones halve in size from one to the next
    assert len(stored) <= 2 * end / limit + 20 + 2
    assert written <= end * 20
    assert not deleted & set(stored)


def reach_of(contiguous):
    end = 0
    for piece in contiguous:
        assert piece.begin == end
        end = piece.end
    return end


@pytest.fixture
def archive():
    return WalArchive(MemoryStorage(), KEYS, "42")


def content(archive, segment=SEGMENT):
    """What the archive's pieces make up."""
    return b"".join(map(bytes, assembled(archive, segment)))


def test_pieces_make_up_the_segment_with_zeros_behind_them(archive):
    whole = bytes(range(256)) * 8
    for begin, end in [(0, 100), (100, 900), (50, 1500), (1500, 2048)]:
        archive.push(piece_name(SEGMENT.name, begin, end), whole[begin:end])
    archive.push(piece_name(SEGMENT.next().name, 0, 9), b"elsewhere")
    assert content(archive) == whole + bytes(SIZE - 2048)


def test_a_hole_ends_what_is_made_up(archive):
    archive.push(piece_name(SEGMENT.name, 0, 10), b"a" * 10)
    archive.push(piece_name(SEGMENT.name, 11, 20), b"b" * 9)
    assert content(archive) == b"a" * 10 + bytes(SIZE - 10)


def test_without_its_beginning_there_is_no_segment(archive):
    with pytest.raises(NotFoundError):
        content(archive)
    archive.push(piece_name(SEGMENT.name, 1, 20), b"b" * 19)
    with pytest.raises(NotFoundError):
        content(archive)


def test_a_piece_of_another_length_than_its_name_is_damage(archive):
    archive.push(piece_name(SEGMENT.name, 0, 10), b"a" * 9)
    with pytest.raises(DamageError, match="9 bytes, and its name says 10"):
        content(archive)


def test_pieces_that_are_replaced_while_they_are_read(archive, monkeypatch):
    whole = b"w" * SIZE
    name = piece_name(SEGMENT.name, 0, 10)
    archive.push(name, whole[:10])
    open_stored = WalArchive.open

    def replaced_first(self, asked, limit_bytes):
        if asked == name:
            self.push(SEGMENT.name, whole)
            self.delete_piece(name)
        return open_stored(self, asked, limit_bytes)

    monkeypatch.setattr(WalArchive, "open", replaced_first)
    assert content(archive) == whole


def test_pieces_that_go_after_a_part_of_them_was_read(archive, monkeypatch):
    large = Segment(Timeline(1), 7, 4 * SIZE)
    whole = os.urandom(large.size_bytes)
    for begin, end in [(0, 2 * SIZE + 5), (2 * SIZE + 5, 3 * SIZE)]:
        archive.push(piece_name(large.name, begin, end), whole[begin:end])
    frames = assembled(archive, large)
    read = bytes(next(frames))
    archive.push(large.name, whole)
    for begin, end in [(0, 2 * SIZE + 5), (2 * SIZE + 5, 3 * SIZE)]:
        archive.delete_piece(piece_name(large.name, begin, end))
    assert read + b"".join(map(bytes, frames)) == whole


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4 * SIZE), unique=True, min_size=1, max_size=6), st.integers(0, 9))
def test_a_large_segment_is_made_up_in_frames(ends, overlap_bytes):
    archive, large = WalArchive(MemoryStorage(), KEYS, "42", level=0), Segment(Timeline(1), 7, 4 * SIZE)
    whole = NOISE * 4
    begins = [0, *(max(0, end - overlap_bytes) for end in sorted(ends)[:-1])]
    for begin, end in zip(begins, sorted(ends), strict=True):
        archive.push(piece_name(large.name, begin, end), whole[begin:end])
    frames = [bytes(frame) for frame in assembled(archive, large)]
    assert [len(frame) for frame in frames] == [SIZE] * 4
    assert b"".join(frames) == whole[: max(ends)].ljust(large.size_bytes, b"\0")
