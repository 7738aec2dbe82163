"""The object of one WAL file: what goes in comes out, for owners alone, from its own place, or not at all."""

from __future__ import annotations

import os
import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.repository.walfiles import opened, proven, sealed

from holdfast.errors import DamageError, KeyRefusedError, VerificationError
from holdfast.repository import walread
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.walfile import STAMP_READ_BYTES, content_digest, read_head
from holdfast.repository.walframes import FRAME_BYTES, InMemory
from holdfast.repository.walread import StoredWalFile
from holdfast.repository.walseal import SealOptions, room_for, seal_wal_file
from holdfast.storage.memory import MemoryStorage

NAME = "wal/7000000000000000001/00000001/000000010000000000000001"
OWNER = Keys("00112233445566778899aabbccddeeff", new_keyring())
WRITER = Keys(OWNER.repository_id, OWNER.keyring.for_writer() if OWNER.keyring else None)
PLAIN = Keys(OWNER.repository_id, None)


@pytest.mark.parametrize("length", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("keys", [OWNER, PLAIN])
def test_content_comes_back(keys: Keys, level: int, length: int) -> None:
    content = (os.urandom(length // 2) + bytes(length))[:length]
    stored = sealed(keys, NAME, content, level)
    assert opened(keys, NAME, stored) == content
    stamp = proven(keys, NAME, stored)
    assert (stamp.digest, stamp.length_bytes) == (content_digest(keys, InMemory(content)), length)
    assert read_head(keys, NAME, stored[:STAMP_READ_BYTES]).object_bytes == len(stored)


def test_a_writer_stores_and_compares_but_does_not_read() -> None:
    stored = sealed(WRITER, NAME, b"secret" * 1000)
    assert b"secret" not in stored
    assert read_head(WRITER, NAME, stored).stamp.digest == content_digest(OWNER, InMemory(b"secret" * 1000))
    with pytest.raises(KeyRefusedError):
        opened(WRITER, NAME, stored)
    assert opened(OWNER, NAME, stored) == b"secret" * 1000


@pytest.mark.parametrize("keys", [OWNER, PLAIN])
def test_under_another_name_or_in_another_repository_it_does_not_open(keys: Keys) -> None:
    stored = sealed(keys, NAME, b"content")
    elsewhere = Keys("ff" * 16, keys.keyring)
    for other, name in ((keys, NAME[:-1] + "2"), (elsewhere, NAME)):
        with pytest.raises(DamageError):
            opened(other, name, stored)
        with pytest.raises(DamageError):
            read_head(other, name, stored)


@given(seed=st.integers(0, 2**32), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_damage_is_found_with_and_without_the_private_key(seed: int, cut: bool) -> None:
    rng = random.Random(seed)
    stored = sealed(OWNER, NAME, rng.randbytes(5000) + bytes(5000))
    place = rng.randrange(len(stored))
    if cut:
        del stored[place:]
    else:
        stored[place] ^= 1 << rng.randrange(8)
    with pytest.raises(DamageError):
        opened(OWNER, NAME, stored)
    with pytest.raises(DamageError):
        proven(WRITER, NAME, stored)


@pytest.mark.parametrize("level", [0, 1])
def test_frames_in_another_order_do_not_open(level: int) -> None:
    stored = sealed(OWNER, NAME, os.urandom(2 * FRAME_BYTES), level)
    end, (first, second) = (head := read_head(OWNER, NAME, stored)).end, head.stamp.stored_lengths
    assert first == second
    swapped = stored[:end] + stored[end + first :] + stored[end : end + first]
    with pytest.raises(DamageError):
        opened(OWNER, NAME, swapped)
    with pytest.raises(DamageError):
        proven(WRITER, NAME, swapped)


def test_a_large_object_is_read_in_parts_and_damage_in_any_of_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walread, "SPAN_BYTES", 2 * FRAME_BYTES)
    storage, content = Counting(), os.urandom(7 * FRAME_BYTES + 17)
    storage.put(NAME, sealed(OWNER, NAME, content))
    file = StoredWalFile(storage, OWNER, NAME, len(content) * 2)
    assert b"".join(file.opened(file.proven())) == content
    assert len(storage.lengths) > 7
    assert max(storage.lengths) <= 2 * FRAME_BYTES
    stored = bytearray(storage.get(NAME))
    stored[5 * FRAME_BYTES] ^= 1
    storage.put(NAME, stored, must_not_exist=False)
    for key, frames in ((OWNER, StoredWalFile.frames), (WRITER, StoredWalFile.proven)):
        with pytest.raises(DamageError):
            deque(frames(StoredWalFile(storage, key, NAME, len(stored))), maxlen=0)
    storage.put(NAME, stored[:-1], must_not_exist=False)
    with pytest.raises(DamageError):
        deque(StoredWalFile(storage, OWNER, NAME, len(stored)).stored(), maxlen=0)


def test_a_file_that_changes_its_length_while_it_is_read_is_not_sealed() -> None:
    for length in (FRAME_BYTES, FRAME_BYTES + 10, 3 * FRAME_BYTES):
        content, room = Shrinking(bytes(length)), memoryview(bytearray(room_for(4 * FRAME_BYTES)))
        with pytest.raises(VerificationError, match="changed its length"):
            seal_wal_file(OWNER, NAME, content, SealOptions(1, "", ""), room)


def test_a_writer_reads_history_files() -> None:
    name = NAME[: NAME.rindex("/")] + "/00000002.history"
    stored = sealed(OWNER, name, b"1\t0/3000000\tfirst\n")
    assert opened(WRITER, name, stored) == b"1\t0/3000000\tfirst\n"


class Counting(MemoryStorage):
    """A storage that knows how much was read at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def get(self, name, **where):
        """Get a part, and count it."""
        data = super().get(name, **where)
        if where:
            self.lengths.append(len(data))
        return data


class Shrinking(InMemory):
    """A content of which there is less than was said."""

    @property
    def length_bytes(self) -> int:
        """One frame and a byte more than there is."""
        return super().length_bytes + 1
