"""Lists of extents as they are stored: they come back, take little, and nothing else is taken for one."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.repository.extent_list import (
    EXTENTS_LIMIT,
    decode_list,
    distinct_chunks,
    encode_list,
    listed_chunks,
)
from holdfast.repository.manifest import EXTENT_DTYPE

PAGE = 8192
HEADER = struct.Struct("<QIIBBBBB")
ids = st.tuples(st.sampled_from([b"a" * 8, b"b" * 8, b"c" * 8]), st.sampled_from([b"x" * 24, b"x" * 23 + b"y"]))


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Extents of a file of pages, or of any bytes: sorted, not overlapping, none empty."""
    unit = draw(st.sampled_from([1, 512, PAGE]))
    at = draw(st.integers(0, 1 << 40))
    rows = []
    for gap, length, start, (head, tail) in draw(
        st.lists(
            st.tuples(st.sampled_from([0, 0, 1, 70_000]), st.integers(1, 300), st.integers(0, (16 << 20) // PAGE), ids),
            min_size=1,
            max_size=40,
        )
    ):
        at += gap * unit
        rows.append((at, length * unit, start * unit, np.void(head + tail)))
        at += length * unit
    return np.array(rows, dtype=EXTENT_DTYPE)


@given(table=tables())
def test_a_list_comes_back_whatever_it_consists_of(table: np.ndarray) -> None:
    stored = encode_list(table)
    listed = decode_list(stored, "it")
    assert listed.table().tobytes() == table.tobytes()
    assert listed.start == int(table["file_offset"][0])
    assert listed.end == int(table["file_offset"][-1]) + int(table["length"][-1])
    assert {chunk.tobytes() for chunk in listed_chunks(stored, "it")} == {bytes(chunk) for chunk in table["chunk"]}


@given(chosen=st.lists(ids, min_size=1, max_size=20))
def test_each_extent_finds_its_own_chunk_even_among_ids_that_begin_alike(chosen: list[tuple[bytes, bytes]]) -> None:
    chunks = [head + tail for head, tail in chosen]
    distinct, which = distinct_chunks(np.frombuffer(b"".join(chunks), dtype="V32"))
    assert [distinct[at].tobytes() for at in which.tolist()] == chunks
    assert len(distinct) == len(set(chunks))
    assert distinct[0].tobytes() == chunks[0]


@given(table=tables(), junk=st.binary(max_size=90), where=st.floats(0, 1), flips=st.integers(1, 255))
def test_damage_is_named_or_a_sound_list(table: np.ndarray, junk: bytes, where: float, flips: int) -> None:
    stored = bytearray(encode_list(table))
    stored[int(where * (len(stored) - 1))] ^= flips
    for content in (
        bytes(stored),
        bytes(stored[: int(where * len(stored))]),
        junk,
        HEADER.pack(1, 1, 1, 0, 1, 1, 1, 1),
    ):
        try:
            read = decode_list(content, "it").table()
        except DamageError:
            continue
        ends = read["file_offset"] + read["length"]
        assert (read["length"] > 0).all()
        assert (ends[:-1] <= read["file_offset"][1:]).all()
        assert int(ends[-1]) < 1 << 63
        assert ((read["chunk_offset"].astype(np.int64) + read["length"]) < 1 << 32).all()
        assert decode_list(encode_list(read), "it").table().tobytes() == read.tobytes()


def made(
    start: int = 0,
    extents: int = 2,
    chunks: int = 1,
    unit: int = 13,
    widths: tuple[int, int, int, int] = (0, 1, 0, 0),
    columns: bytes = b"\1\1",
) -> bytes:
    """Return what a writer of ours would not."""
    return HEADER.pack(start, extents, chunks, unit, *widths) + b"i" * 32 * chunks + columns


def test_what_is_made_by_hand_is_a_list() -> None:
    assert decode_list(made(), "it").table()["file_offset"].tolist() == [0, PAGE]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut off"),
        (made()[:20], "cut off"),
        (made()[:-1], "as long as"),
        (made() + b"\0", "as long as"),
        (made(start=1 << 63), "as long as"),
        (made(extents=0, chunks=0, widths=(0, 0, 0, 0), columns=b""), "cannot be"),
        (made(extents=EXTENTS_LIMIT + 1, columns=b"\1" * (EXTENTS_LIMIT + 1)), "cannot be"),
        (made(extents=1 << 31, widths=(0, 0, 0, 0), columns=b""), "cannot be"),
        (made(chunks=3), "cannot be"),
        (made(chunks=0), "cannot be"),
        (made(unit=32), "cannot be"),
        (made(widths=(5, 1, 0, 0), columns=bytes(10) + b"\1\1"), "cannot be"),
        (made(columns=b"\1\0"), "empty"),
        (made(widths=(0, 0, 0, 0), columns=b""), "empty"),
        (made(widths=(0, 1, 1, 0), columns=b"\1\1\0\1"), "does not name"),
        (made(chunks=2), "does not name"),
        (made(start=(1 << 63) - 2 * PAGE), "end of any file"),
        (made(unit=31, widths=(4, 1, 0, 0), columns=b"\0\xff" * 4 + b"\1\1"), "end of any file"),
        (made(widths=(0, 1, 0, 1), columns=b"\1\1\1\0"), "any chunk"),
        (made(unit=31, columns=b"\1\1"), "any chunk"),
    ],
)
def test_what_cannot_be_is_damage(content: bytes, reason: str) -> None:
    with pytest.raises(DamageError, match=reason):
        decode_list(content, "it")


def test_extents_that_make_no_list_are_a_fault_of_the_caller() -> None:
    def extents(*rows: tuple[int, int, int]) -> np.ndarray:
        return np.array([(*row, np.void(b"i" * 32)) for row in rows], dtype=EXTENT_DTYPE)

    for bad in (extents((0, 0, 0)), extents((0, 2, 0), (1, 2, 0)), extents((0, 1, 0), ((1 << 32) + 2, 1, 0))):
        with pytest.raises(ValueError, match="extents that"):
            encode_list(bad)


def test_pages_that_changed_here_and_there_take_three_bytes_each() -> None:
    """As they lie after many backups: pieces of first chunks, and between them pages gathered into some chunks."""
    import zstandard

    chance = random.Random(3)
    chunks = [chance.randbytes(32) for _ in range(300)]
    used = dict.fromkeys(range(128, 300), 0)
    rows = []
    for page in range(128 * 128):
        if chance.random() < 0.3:
            chunk = chance.randrange(128, 300)
            rows.append((page * PAGE, PAGE, used[chunk], np.void(chunks[chunk])))
            used[chunk] += PAGE
        elif rows and rows[-1][3].tobytes() == chunks[page // 128]:
            offset, length, start, chunk_id = rows.pop()
            rows.append((offset, length + PAGE, start, chunk_id))
        else:
            rows.append((page * PAGE, PAGE, page % 128 * PAGE, np.void(chunks[page // 128])))
    table = np.array(rows, dtype=EXTENT_DTYPE)
    assert len(table) > 8000
    ids_bytes = 32 * len(chunks)
    assert len(zstandard.ZstdCompressor(level=1).compress(encode_list(table))) < 2.5 * len(table) + ids_bytes
