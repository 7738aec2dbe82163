"""The index: what is encoded comes back, and a look-up finds what a dictionary would find."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.model import new_object_id
from holdfast.repository.index import ChunkIndex, ChunkRecords, IndexedPack, chunk_words, decode_index, encode_index
from holdfast.repository.pack import PackKind, PackRef

Row = tuple[bytes, int, int, int, int]
# few heads, so that ids share their first 64 bits; trailing zeros, which careless comparisons drop
heads = st.sampled_from([bytes(8), b"\x80" + bytes(7), b"\xff" * 8, b"head no1"])
ids = st.builds(
    lambda head, tail: head + tail, heads, st.binary(min_size=1, max_size=2).map(lambda b: b.ljust(24, b"\0"))
)
numbers = st.integers(0, 2**32 - 1)


def packs_of(count: int) -> list[IndexedPack]:
    """Return packs with names of their own."""
    kinds = (PackKind.DATA, PackKind.META)
    return [IndexedPack(PackRef(kinds[n % 2], new_object_id()), n, bytes([n]) * 32) for n in range(count)]


def records_of(rows: list[Row]) -> ChunkRecords:
    """Return rows as columns."""
    columns = [np.array([row[at] for row in rows], dtype="<u4") for at in range(1, 5)]
    return ChunkRecords(chunk_words([row[0] for row in rows]), *columns)


rows_of_three = st.lists(st.tuples(ids, st.integers(0, 2), numbers, numbers, numbers), max_size=30)


@given(rows=rows_of_three)
def test_an_index_object_comes_back_sorted(rows: list[Row]) -> None:
    packs = packs_of(3)
    found, records = decode_index(encode_index(packs, records_of(rows)), "index/1")
    assert found == packs
    decoded = [
        (
            records.ids[at].tobytes(),
            *(int(column[at]) for column in (records.pack, records.offset, records.stored, records.plain)),
        )
        for at in range(len(records))
    ]
    assert sorted(decoded) == sorted(rows)
    assert [row[0] for row in decoded] == sorted(row[0] for row in rows)


@given(rows=rows_of_three, cut=st.integers(1, 400), more=st.binary(min_size=1, max_size=50))
def test_another_length_is_refused_by_name(rows: list[Row], cut: int, more: bytes) -> None:
    content = encode_index(packs_of(3), records_of(rows))
    for spoilt in (content[: max(0, len(content) - cut)], content + more):
        with pytest.raises(DamageError, match="index/1"):
            decode_index(spoilt, "index/1")


def test_a_record_of_a_pack_that_is_not_there_is_refused() -> None:
    content = encode_index(packs_of(1), records_of([(bytes(32), 1, 0, 0, 0)]))
    with pytest.raises(DamageError, match="index/1"):
        decode_index(content, "index/1")


@given(parts=st.lists(rows_of_three, max_size=4), wanted=st.lists(ids, max_size=20))
def test_look_up_finds_what_a_dictionary_finds(parts: list[list[Row]], wanted: list[bytes]) -> None:
    index = ChunkIndex((packs_of(3), records_of(rows)) for rows in parts)
    known: dict[bytes, set[tuple[int, ...]]] = {}
    for number, rows in enumerate(parts):
        for chunk, pack, *rest in rows:
            known.setdefault(chunk, set()).add((3 * number + pack, *rest))
    asked = wanted + list(known)
    found = index.lookup(chunk_words(asked)) if asked else []
    for chunk, row in zip(asked, found, strict=True):
        if chunk not in known:
            assert row == -1
            continue
        assert index.ids_at(np.array([row])).tobytes() == chunk
        columns = (index.pack, index.offset, index.stored, index.plain)
        assert tuple(int(column[row]) for column in columns) in known[chunk]


@given(rows=rows_of_three, gone=st.sets(st.integers(0, 2)))
def test_packs_that_are_absent_count_for_nothing(rows: list[Row], gone: set[int]) -> None:
    index = ChunkIndex([(packs_of(3), records_of(rows))], lambda pack: pack.length not in gone)
    left = {row[0] for row in rows if row[1] not in gone}
    asked = sorted({row[0] for row in rows})
    if asked:
        found = index.lookup(chunk_words(asked)) >= 0
        assert {chunk for chunk, is_found in zip(asked, found, strict=True) if is_found} == left


def test_an_empty_index_finds_nothing() -> None:
    assert ChunkIndex().lookup(chunk_words([bytes(32)])).tolist() == [-1]


def test_the_place_of_a_row() -> None:
    packs = packs_of(2)
    index = ChunkIndex([(packs, records_of([(b"b" * 32, 1, 10, 20, 30), (b"a" * 32, 0, 1, 2, 3)]))])
    place = index.place(int(index.lookup(chunk_words([b"b" * 32]))[0]))
    assert place.pack == packs[1]
    assert (place.frame.offset, place.frame.stored, place.frame.plain) == (10, 20, 30)


def test_two_million_chunks_fit_in_50_bytes_each_and_are_found_fast() -> None:
    count, parts = 2_000_000, 4
    random = np.random.default_rng(7)
    packs, loaded = packs_of(3), []
    for _ in range(parts):
        chunk_ids = np.frombuffer(random.bytes(32 * count // parts), dtype=">u8").reshape(-1, 4)
        columns = [np.zeros(count // parts, dtype="<u4") for _ in range(4)]
        loaded.append((packs, ChunkRecords(chunk_ids, *columns)))
    index = ChunkIndex(loaded)
    assert index.memory_bytes <= 50 * count
    wanted = loaded[2][1].ids[:100_000]
    began = time.process_time()
    found = index.lookup(wanted)
    elapsed_s = time.process_time() - began
    assert (index.ids_at(found) == wanted).all()
    assert elapsed_s < 1.0, f"100,000 look-ups took {elapsed_s:.2f} s"
