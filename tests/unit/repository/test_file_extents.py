"""A file's extents as an entry names them: they come back, and a little change stores little of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.test_manifest import Chunks, entry

from holdfast.errors import DamageError
from holdfast.repository import file_extents
from holdfast.repository.extent_list import decode_list
from holdfast.repository.extents import join_extents
from holdfast.repository.file_extents import (
    INLINE_EXTENTS,
    StoredExtents,
    load_extents,
    load_files,
    load_stored,
    store_extents,
)
from holdfast.repository.manifest import EXTENT_DTYPE, Entry

PAGE = 8192
MIB = 1 << 20
REGION = 128 * MIB


def chunk_of(number: int) -> np.void:
    """Return a chunk id."""
    return np.void(number.to_bytes(32, "big"))


def tiled(lengths: list[tuple[int, int]]) -> np.ndarray:
    """Return extents from (gap before, length)."""
    rows, at = [], 0
    for number, (gap, length) in enumerate(lengths):
        rows.append((at + gap, length, number, chunk_of(number)))
        at += gap + length
    return np.array(rows, dtype=EXTENT_DTYPE)


def stored(chunks: Chunks, extents: np.ndarray, size: int, before: Entry | None = None) -> Entry:
    """Store extents as a backup on top of ``before`` would; return the entry."""
    known = load_stored(before, chunks.known.__getitem__) if before else file_extents.NOTHING_STORED
    inline, named = store_extents(extents, chunks.put, known)
    return entry(b"f", size=size, extents=inline, extent_chunks=named)


runs = st.lists(st.tuples(st.integers(0, 1 << 33), st.integers(1, 1 << 20)), max_size=3 * INLINE_EXTENTS)


@given(lengths=runs, beyond=st.integers(0, 9))
def test_extents_come_back_inline_or_not(lengths: list[tuple[int, int]], beyond: int) -> None:
    chunks, extents = Chunks(), tiled(lengths)
    file = stored(chunks, extents, sum(gap + length for gap, length in lengths) + beyond)
    assert bool(file.extent_chunks) == (len(extents) > INLINE_EXTENTS)
    assert load_extents(file, chunks.known.__getitem__).tobytes() == extents.tobytes()


def test_a_region_of_too_many_extents_has_more_than_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_extents, "EXTENTS_LIMIT", 100)
    chunks, extents = Chunks(), tiled([(0, PAGE)] * 1000)
    file = stored(chunks, extents, 1000 * PAGE)
    assert len(file.extent_chunks) == 10
    assert load_extents(file, chunks.known.__getitem__).tobytes() == extents.tobytes()
    extents["chunk"][550] = chunk_of(2000)
    file = stored(chunks, extents, 1000 * PAGE, file)
    assert load_extents(file, chunks.known.__getitem__).tobytes() == extents.tobytes()


def test_a_change_in_a_large_file_costs_a_list_of_that_change_alone() -> None:
    chunks, extents = Chunks(), tiled([(0, MIB)] * 1024)
    before = stored(chunks, extents, 1 << 30)
    known = set(chunks.known)
    extents["chunk"][300] = chunk_of(5000)
    after = stored(chunks, extents, 1 << 30, before)
    assert after.extent_chunks[:-1] == before.extent_chunks
    (new,) = chunks.known.keys() - known
    assert new == after.extent_chunks[-1]
    assert decode_list(chunks.known[new], "it").table().tobytes() == extents[300:301].tobytes()
    assert load_extents(after, chunks.known.__getitem__).tobytes() == extents.tobytes()


def test_what_changes_again_and_again_lies_over_one_list_until_that_is_worth_a_new_one() -> None:
    chunks, extents = Chunks(), tiled([(0, MIB)] * 128)
    file = first = stored(chunks, extents, REGION)
    for number in range(32):
        extents["chunk"][number] = chunk_of(1000 + number)
        file = stored(chunks, extents, REGION, file)
        assert file.extent_chunks[:-1] == first.extent_chunks
        assert load_extents(file, chunks.known.__getitem__).tobytes() == extents.tobytes()
    extents["chunk"][40] = chunk_of(2000)
    file = stored(chunks, extents, REGION, file)
    assert len(file.extent_chunks) == 1
    assert file.extent_chunks != first.extent_chunks
    assert stored(chunks, extents, REGION, file) == file


def test_what_is_as_before_stores_nothing_and_is_named_alike() -> None:
    chunks, extents = Chunks(), tiled([(0, MIB)] * 500)
    before = stored(chunks, extents, 500 * MIB)
    extents["chunk"][3] = chunk_of(1000)
    changed = stored(chunks, extents, 500 * MIB, before)
    known = dict(chunks.known)
    assert stored(chunks, extents, 500 * MIB, changed) == changed
    extents["chunk"][3] = chunk_of(3)
    assert stored(chunks, extents, 500 * MIB, changed) == before
    assert chunks.known == known


happenings = st.sampled_from(["write", "write", "write", "cut", "hole", "grow"])
changes = st.lists(st.tuples(happenings, st.integers(0, 39), st.integers(1, 9)), max_size=12)


@given(rounds=st.lists(changes, min_size=1, max_size=5))
def test_whatever_happens_to_a_file_its_extents_come_back(rounds: list[list[tuple[str, int, int]]]) -> None:
    """Pages are written over, cut off, become holes, or come after the end; regions have 16 pages here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_extents, "_REGION_BYTES", 16 * PAGE)
        chunks, file, number = Chunks(), None, 1
        pages: list[tuple[int, int] | None] = [(0, at) for at in range(40)]
        for happened in rounds:
            for what, at, count in happened:
                number += 1
                if what == "cut":
                    del pages[at:]
                elif what == "grow":
                    pages += [(number, page) for page in range(count)]
                else:
                    for page in range(at, min(at + count, len(pages))):
                        pages[page] = (number, page - at) if what == "write" else None
            table = table_of(pages)
            file = stored(chunks, table, len(pages) * PAGE, file)
            assert load_extents(file, chunks.known.__getitem__).tobytes() == table.tobytes()


def table_of(pages: list[tuple[int, int] | None]) -> np.ndarray:
    """Return the extents of pages that are given as (chunk, page in the chunk), or None for a hole."""
    rows = [
        (at * PAGE, PAGE, place[1] * PAGE, chunk_of(place[0])) for at, place in enumerate(pages) if place is not None
    ]
    return join_extents([np.array(rows, dtype=EXTENT_DTYPE)])


def test_lists_in_any_number_lie_over_one_another_in_their_order() -> None:
    chunks, rows = Chunks(), [tiled([(at * PAGE, PAGE * (9 - 2 * at))]) for at in range(5)]
    for number, row in enumerate(rows):
        row["chunk"] = chunk_of(number)
    named = tuple(chunks.put(file_extents.encode_list(row)) for row in rows)
    table = load_extents(entry(b"f", size=9 * PAGE, extent_chunks=named), chunks.known.__getitem__)
    assert [(row[1] // PAGE, row[3][-1]) for row in table.tolist()] == [
        (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 3), (1, 2), (1, 1), (1, 0)
    ]  # fmt: skip
    upside_down = entry(b"f", size=9 * PAGE, extent_chunks=named[::-1])
    assert load_extents(upside_down, chunks.known.__getitem__).tobytes() == rows[0].tobytes()


@given(lengths=runs.filter(bool), where=st.integers(0))
def test_extents_that_overlap_or_pass_the_end_are_damage(lengths: list[tuple[int, int]], where: int) -> None:
    chunks, extents = Chunks(), tiled(lengths)
    size = sum(gap + length for gap, length in lengths)
    with pytest.raises(DamageError, match="overlap or pass"):
        load_extents(stored(chunks, extents, size - 1), chunks.known.__getitem__)
    with pytest.raises(DamageError, match="overlap or pass"):
        load_extents(entry(b"f", size=size - 1, extents=extents.tobytes()), Chunks().put)
    with pytest.raises(DamageError, match="cut off"):
        load_extents(entry(b"f", size=size, extents=extents.tobytes()[:-1]), Chunks().put)
    if len(extents) > 1:
        at = where % (len(extents) - 1)
        extents["file_offset"][at + 1] = extents["file_offset"][at]
        with pytest.raises(DamageError, match="overlap or pass"):
            load_extents(entry(b"f", size=size, extents=extents.tobytes()), Chunks().put)


def test_extents_that_are_empty_are_damage() -> None:
    """A restore would wait for their bytes for ever, and never call the file whole."""
    for at in (0, 5, 9):
        empty = np.array([(at, 0, 0, chunk_of(1))], dtype=EXTENT_DTYPE)
        with pytest.raises(DamageError, match="are empty"):
            load_extents(entry(b"f", size=9, extents=empty.tobytes()), Chunks().put)


@given(files=st.lists(st.tuples(runs, st.booleans()), max_size=5))
def test_the_extents_of_many_files_are_those_of_each(files: list[tuple[list[tuple[int, int]], bool]]) -> None:
    chunks, entries = Chunks(), []
    for lengths, changes in files:
        extents, size = tiled(lengths), sum(gap + length for gap, length in lengths)
        entries.append(stored(chunks, extents, size))
        if changes and len(extents):
            extents["chunk"][-1] = chunk_of(99)
            entries.append(stored(chunks, extents, size, entries[-1]))
    owner, together = load_files(entries, chunks.known.__getitem__)
    for number, file in enumerate(entries):
        expected = load_extents(file, chunks.known.__getitem__)
        assert together.table()[owner == number].tobytes() == expected.tobytes()


def test_a_chunk_that_is_covered_wholly_is_not_asked_for() -> None:
    chunks, extents = Chunks(), tiled([(0, MIB)] * 8)
    before = stored(chunks, extents, 8 * MIB)
    extents["chunk"][5] = chunk_of(50)
    after = stored(chunks, extents, 8 * MIB, before)
    assert after.extent_chunks[0] == before.extent_chunks[0]
    _, listed = load_files([after], chunks.known.__getitem__)
    assert {chunk.tobytes() for chunk in listed.chunks} == {chunk.tobytes() for chunk in extents["chunk"]}


def test_a_list_that_is_none_is_damage_of_the_file() -> None:
    chunks = Chunks()
    file = entry(b"f", size=9, extent_chunks=(chunks.put(b"junk"),))
    with pytest.raises(DamageError, match=r"file b'f': a list of extents is cut off"):
        load_extents(file, chunks.known.__getitem__)


def test_nothing_is_stored_of_nothing() -> None:
    assert StoredExtents(np.zeros(0, dtype=EXTENT_DTYPE)).lists == {}
    assert store_extents(np.zeros(0, dtype=EXTENT_DTYPE), Chunks().put) == (b"", ())
