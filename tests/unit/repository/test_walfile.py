"""The object of one WAL file: what goes in comes out, for owners alone, from its own place, or not at all."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import DamageError, KeyRefusedError
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.walfile import (
    FRAME_BYTES,
    STAMP_READ_BYTES,
    SealOptions,
    content_digest,
    open_wal_file,
    read_stamp,
    require_whole,
    seal_wal_file,
    stored_length,
)

NAME = "wal/7000000000000000001/00000001/000000010000000000000001"
OPTIONS = SealOptions(1, 2, "2026-11-21T10:00:00.000+00:00", "host")
OWNER = Keys("00112233445566778899aabbccddeeff", new_keyring())
WRITER = Keys(OWNER.repository_id, OWNER.keyring.for_writer() if OWNER.keyring else None)
PLAIN = Keys(OWNER.repository_id, None)


@pytest.mark.parametrize("length", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("keys", [OWNER, PLAIN])
def test_content_comes_back(keys: Keys, level: int, length: int) -> None:
    content = (os.urandom(length // 2) + bytes(length))[:length]
    stored = seal_wal_file(keys, NAME, content, SealOptions(level, 2, "now", "host"))
    assert open_wal_file(keys, NAME, stored, 2) == content
    stamp = require_whole(keys, NAME, stored)
    assert (stamp.digest, stamp.length_bytes) == (content_digest(keys, content), length)
    assert stored_length(keys, NAME, stored[:STAMP_READ_BYTES]) == len(stored)


def test_a_writer_stores_and_compares_but_does_not_read() -> None:
    stored = seal_wal_file(WRITER, NAME, b"secret" * 1000, OPTIONS)
    assert b"secret" not in stored
    assert read_stamp(WRITER, NAME, stored).digest == content_digest(OWNER, b"secret" * 1000)
    with pytest.raises(KeyRefusedError):
        open_wal_file(WRITER, NAME, stored, 1)
    assert open_wal_file(OWNER, NAME, stored, 1) == b"secret" * 1000


@pytest.mark.parametrize("keys", [OWNER, PLAIN])
def test_under_another_name_or_in_another_repository_it_does_not_open(keys: Keys) -> None:
    stored = seal_wal_file(keys, NAME, b"content", OPTIONS)
    elsewhere = Keys("ff" * 16, keys.keyring)
    for other, name in ((keys, NAME[:-1] + "2"), (elsewhere, NAME)):
        with pytest.raises(DamageError):
            open_wal_file(other, name, stored, 1)
        with pytest.raises(DamageError):
            read_stamp(other, name, stored)


@given(seed=st.integers(0, 2**32), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_damage_is_found_with_and_without_the_private_key(seed: int, cut: bool) -> None:
    rng = random.Random(seed)
    stored = seal_wal_file(OWNER, NAME, rng.randbytes(5000) + bytes(5000), OPTIONS)
    place = rng.randrange(len(stored))
    if cut:
        del stored[place:]
    else:
        stored[place] ^= 1 << rng.randrange(8)
    with pytest.raises(DamageError):
        open_wal_file(OWNER, NAME, stored, 1)
    with pytest.raises(DamageError):
        require_whole(WRITER, NAME, stored)


def test_a_writer_reads_history_files() -> None:
    name = NAME[: NAME.rindex("/")] + "/00000002.history"
    stored = seal_wal_file(OWNER, name, b"1\t0/3000000\tfirst\n", OPTIONS)
    assert open_wal_file(WRITER, name, stored, 1) == b"1\t0/3000000\tfirst\n"
