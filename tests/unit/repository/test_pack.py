"""Packs: header, frames and trailer come back, and every other byte than those stored is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.model import new_object_id
from holdfast.repository.crypto import TAG_BYTES
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.pack import (
    HEADER_READ_BYTES,
    TABLE_DTYPE,
    Frame,
    PackKind,
    PackRef,
    new_pack,
    open_frame_cipher,
    open_trailer,
    parse_header,
    seal_trailer,
    trailer_bytes_limit,
)

KEYS = Keys("ab" * 16, new_keyring())
PLAIN = Keys("ab" * 16, None)
every = pytest.mark.parametrize(
    ("keys", "kind"), [(keys, kind) for keys in (KEYS, PLAIN) for kind in PackKind], ids=lambda value: str(value)[:5]
)


def make_pack(keys: Keys, kind: PackKind, contents: list[bytes]) -> tuple[PackRef, bytes, np.ndarray]:
    """Return a pack made by hand: its name, its bytes, its table."""
    ref = PackRef(kind, new_object_id())
    header, cipher = new_pack(keys, ref)
    data, table = bytearray(header.raw), np.zeros(len(contents), dtype=TABLE_DTYPE)
    for row, content in zip(table, contents, strict=True):
        chunk = keys.chunk_id(kind, content)
        row["chunk"], row["offset"] = np.void(chunk), len(data)
        row["stored"], row["plain"] = len(content) + TAG_BYTES, len(content)
        sealed = bytearray(len(content) + TAG_BYTES)
        cipher.seal_into(len(data), chunk, content, memoryview(sealed))
        data += sealed
    data += seal_trailer(keys, ref, header, table, blake3(data).digest())
    return ref, bytes(data), table


def frame_of(row: np.void) -> Frame:
    """Return a table row as a frame."""
    return Frame(int(row["offset"]), int(row["stored"]), int(row["plain"]))


def open_whole(keys: Keys, ref: PackRef, data: bytes | bytearray) -> None:
    """Open all that a pack holds."""
    header = parse_header(ref, data)
    trailer = open_trailer(keys, ref, header, data)
    cipher = open_frame_cipher(keys, ref, header)
    for row in trailer.table:
        frame = frame_of(row)
        cipher.open(frame, bytes(row["chunk"]), data[frame.offset : frame.offset + frame.stored])


@every
@given(contents=st.lists(st.binary(max_size=50), max_size=8))
def test_a_pack_comes_back(keys: Keys, kind: PackKind, contents: list[bytes]) -> None:
    ref, data, table = make_pack(keys, kind, contents)
    header = parse_header(ref, data[:HEADER_READ_BYTES])
    assert data.startswith(header.raw)
    trailer = open_trailer(keys, ref, header, data)
    assert trailer.table.tobytes() == table.tobytes()
    assert trailer.digest == blake3(data[: trailer.start]).digest()
    cipher = open_frame_cipher(keys, ref, header)
    for row, content in zip(trailer.table, contents, strict=True):
        frame = frame_of(row)
        assert (
            bytes(cipher.open(frame, bytes(row["chunk"]), data[frame.offset : frame.offset + frame.stored])) == content
        )


@every
@given(position=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(keys: Keys, kind: PackKind, position: int, bit: int) -> None:
    ref, data, _ = make_pack(keys, kind, [b"one", b"two"])
    spoilt = bytearray(data)
    spoilt[position % len(spoilt)] ^= 1 << bit
    with pytest.raises(DamageError, match=ref.name):
        open_whole(keys, ref, spoilt)


@every
def test_every_truncation_is_refused(keys: Keys, kind: PackKind) -> None:
    ref, data, _ = make_pack(keys, kind, [b"one"])
    for length in range(len(data)):
        with pytest.raises(DamageError, match=ref.name):
            open_trailer(keys, ref, parse_header(ref, data[:length]), data[:length])


@every
def test_a_pack_under_another_name_or_in_another_repository_is_refused(keys: Keys, kind: PackKind) -> None:
    ref, data, _ = make_pack(keys, kind, [b"one"])
    other = PackRef(kind, new_object_id())
    with pytest.raises(DamageError, match=other.name):
        open_frame_cipher(keys, other, parse_header(other, data))
    with pytest.raises(DamageError, match=other.name):
        open_trailer(keys, other, parse_header(other, data), data)
    elsewhere = Keys("cd" * 16, keys.keyring)
    with pytest.raises(DamageError, match=ref.name):
        open_frame_cipher(elsewhere, ref, parse_header(ref, data))
    with pytest.raises(DamageError, match=ref.name):
        open_trailer(elsewhere, ref, parse_header(ref, data), data)


@every
def test_a_pack_of_the_other_kind_is_refused(keys: Keys, kind: PackKind) -> None:
    ref, data, _ = make_pack(keys, kind, [b"one"])
    other = PackRef(PackKind.META if kind is PackKind.DATA else PackKind.DATA, ref.id)
    with pytest.raises(DamageError, match="another type"):
        parse_header(other, data)


@every
def test_a_frame_opens_only_in_its_place_and_as_its_chunk(keys: Keys, kind: PackKind) -> None:
    ref, data, table = make_pack(keys, kind, [b"same length 1", b"same length 2"])
    cipher = open_frame_cipher(keys, ref, parse_header(ref, data))
    first, second = (frame_of(row) for row in table)
    sealed = data[first.offset : first.offset + first.stored]
    with pytest.raises(DamageError, match=f"{ref.name}: frame at {second.offset}"):
        cipher.open(second, bytes(table[0]["chunk"]), sealed)
    with pytest.raises(DamageError, match=ref.name):
        cipher.open(first, bytes(table[1]["chunk"]), sealed)


@given(frames=st.integers(0, 5000), seed=st.integers(0, 99))
def test_a_trailer_stays_below_its_limit(frames: int, seed: int) -> None:
    table = np.frombuffer(np.random.default_rng(seed).bytes(frames * TABLE_DTYPE.itemsize), dtype=TABLE_DTYPE)
    ref = PackRef(PackKind.META, new_object_id())
    header, _ = new_pack(KEYS, ref)
    assert len(seal_trailer(KEYS, ref, header, table, bytes(32))) <= trailer_bytes_limit(frames)


def test_two_packs_never_share_a_key() -> None:
    refs = [PackRef(kind, new_object_id()) for kind in PackKind for _ in range(5)]
    commitments = {new_pack(KEYS, ref)[0].commitment for ref in refs + refs}
    assert len(commitments) == 20
