"""The arithmetic of extents against a model that knows the place of every byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import ChunkId
from holdfast.repository.extents import (
    NO_EXTENTS,
    are_within,
    clip_extents,
    differing_bytes,
    hardly_used,
    join_extents,
    lay_over,
    page_extents,
    pages_within,
    runs_of,
)
from holdfast.repository.manifest import EXTENT_DTYPE

SIZE = 60
Place = tuple[int, int] | None
"""The chunk's number and the offset in it; None in a hole."""


def chunk_of(number: int) -> bytes:
    """Return a chunk id."""
    return bytes([number]) * 32


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """A sorted table of extents that do not overlap, with holes, and with neighbours that go on in their chunk."""
    rows, at = [], draw(st.integers(0, 5))
    while at < SIZE:
        length = draw(st.integers(1, 9))
        rows.append((at, length, draw(st.sampled_from([0, 3, at])), np.void(chunk_of(draw(st.integers(1, 3))))))
        at += length + draw(st.sampled_from([0, 0, 0, 4]))
    return np.array(rows, dtype=EXTENT_DTYPE)


def places(table: np.ndarray) -> list[Place]:
    """Return where each byte of the file is."""
    found: list[Place] = [None] * (SIZE + 20)
    for offset, length, start, chunk in table.tolist():
        for at in range(length):
            assert found[offset + at] is None
            found[offset + at] = (chunk[0], start + at)
    return found


@given(table=tables(), chosen=st.lists(st.booleans(), min_size=SIZE, max_size=SIZE))
def test_clipped_extents_say_the_same_of_what_was_chosen_and_nothing_else(
    table: np.ndarray, chosen: list[bool]
) -> None:
    starts, ends = runs_of(np.array(chosen))
    clipped = places(clip_extents(table, starts, ends))
    assert clipped[:SIZE] == [place if kept else None for place, kept in zip(places(table), chosen, strict=False)]


@given(table=tables(), cuts=st.sets(st.integers(1, SIZE)))
def test_joined_extents_say_the_same_and_are_as_few_as_can_be(table: np.ndarray, cuts: set[int]) -> None:
    edges = np.array(sorted({0, *cuts, SIZE + 20}))
    parts = [clip_extents(table, edges[at : at + 1], edges[at + 1 : at + 2]) for at in range(len(edges) - 1)]
    joined = join_extents(parts[::-1])
    assert places(joined) == places(table)
    assert joined.tobytes() == join_extents([table]).tobytes()
    assert not any(
        a[0] + a[1] == b[0] and a[2] + a[1] == b[2] and a[3] == b[3]
        for a, b in zip(joined.tolist(), joined.tolist()[1:], strict=False)
    )


@given(one=tables(), other=tables())
def test_bytes_differ_where_their_places_do(one: np.ndarray, other: np.ndarray) -> None:
    expected = sum(a != b for a, b in zip(places(one), places(other), strict=True))
    assert differing_bytes(one, other) == differing_bytes(other, one) == expected


@given(
    pages=st.sets(st.integers(0, 14), min_size=1),
    short=st.integers(0, 3),
    in_a_chunk=st.integers(1, 5),
)
def test_pages_that_lie_back_to_back_are_found_in_their_chunks(pages: set[int], short: int, in_a_chunk: int) -> None:
    offsets = np.array(sorted(pages)) * 4
    end = len(offsets) * 4 - short
    cuts = [(at, min(in_a_chunk * 4, end - at)) for at in range(0, end, in_a_chunk * 4)]
    found = places(page_extents(offsets, 4, end, cuts, [ChunkId(chunk_of(number)) for number in range(len(cuts))]))
    expected: list[Place] = [None] * (SIZE + 20)
    for at in range(end):
        number = at // (in_a_chunk * 4)
        expected[int(offsets[at // 4]) + at % 4] = (number, at - number * in_a_chunk * 4)
    assert found == expected


@given(
    table=tables(),
    share=st.sampled_from([0.1, 0.3, 0.5, 0.7]),
    ids=st.tuples(*[st.binary(min_size=32, max_size=32)] * 3),
)
def test_hardly_used_are_the_chunks_of_which_few_bytes_are_needed(
    table: np.ndarray, share: float, ids: tuple[bytes, bytes, bytes]
) -> None:
    table["chunk"] = [np.void(ids[chunk[0] - 1]) for chunk in table["chunk"].tolist()]
    used: dict[bytes, int] = {}
    ends: dict[bytes, int] = {}
    for _, length, start, chunk in table.tolist():
        used[chunk] = used.get(chunk, 0) + length
        ends[chunk] = max(ends.get(chunk, 0), start + length)
    shares = {chunk: share * (0.75 + 0.5 * int.from_bytes(chunk[:8], "little") / 2**64) for chunk in used}
    expected = [used[chunk] <= shares[chunk] * ends[chunk] for *_, chunk in table.tolist()]
    assert hardly_used(table, share).tolist() == expected


@given(table=tables(), page=st.integers(1, 7), count=st.integers(0, SIZE))
def test_pages_within_extents_are_those_whose_first_byte_is(table: np.ndarray, page: int, count: int) -> None:
    known = [place is not None for place in places(table)] + [False] * page * count
    assert pages_within(table, page, count).tolist() == known[: page * count : page]


def test_where_nothing_is_known_nothing_is_found() -> None:
    assert hardly_used(NO_EXTENTS, 0.5).tolist() == []
    assert pages_within(NO_EXTENTS, 8192, 3).tolist() == [False] * 3


@given(layers=st.lists(st.tuples(tables(), st.lists(st.booleans(), min_size=30, max_size=30)), max_size=4))
def test_of_tables_that_lie_over_one_another_the_last_one_holds(layers: list[tuple[np.ndarray, list[bool]]]) -> None:
    chosen = [table[np.resize(kept, len(table))] for table, kept in layers]
    expected: list[Place] = [None] * (SIZE + 20)
    for table in chosen:
        expected = [above or below for above, below in zip(places(table), expected, strict=True)]
    assert places(lay_over([table for table in chosen if len(table)])) == expected


@given(table=tables(), other=tables(), chosen=st.lists(st.booleans(), min_size=SIZE, max_size=SIZE))
def test_extents_are_within_those_that_say_the_same_of_every_byte(
    table: np.ndarray, other: np.ndarray, chosen: list[bool]
) -> None:
    known = places(other)
    for extents in (table, clip_extents(other, *runs_of(np.array(chosen)))):
        within = are_within(extents, other)
        for row, is_within in zip(extents.tolist(), within.tolist(), strict=True):
            said = [(row[3][0], row[2] + at) for at in range(row[1])]
            is_same = known[row[0] : row[0] + row[1]] == said
            assert not is_within or is_same
            if extents is not table:
                assert is_within
