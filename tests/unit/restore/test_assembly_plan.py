"""Regions in many pieces are put together from memory that is bounded; what comes out is what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.restore import assembly_plan
from holdfast.restore.assembly_plan import APART, REGION_BYTES, AssemblyPlan, plan_assembly
from holdfast.restore.plan import WANT_DTYPE
from holdfast.restore.writing import ALIGNMENT

PAGE = 8192
NOISE = np.random.default_rng(1).bytes(1 << 20)
Piece = tuple[int, int, int, int]
"""Row, file offset, length, offset in the chunk."""


def wants_of(files: list[list[Piece]]) -> np.ndarray:
    """Return wants, sorted by row, from each file's pieces."""
    rows = [
        (row, number, offset, length, at) for number, pieces in enumerate(files) for row, offset, length, at in pieces
    ]
    table = np.array(rows, dtype=WANT_DTYPE)
    return table[np.argsort(table["row"], kind="stable")]


def planned(files: list[list[Piece]], sizes: list[int] | None = None) -> AssemblyPlan:
    """Return the plan of files; chunks end where the last piece of them does."""
    wants = wants_of(files)
    sizes = sizes or [max((offset + length for _, offset, length, _ in pieces), default=0) for pieces in files]
    return plan_assembly(wants, sizes, plain_of(wants))


def plain_of(wants: np.ndarray) -> np.ndarray:
    """Return the lengths of chunks by row: they end where the last want in them does."""
    plain = np.zeros(int(wants["row"].max(initial=0)) + 1, dtype="<u4")
    np.maximum.at(plain, wants["row"], wants["chunk_offset"] + wants["length"])
    return plain


@st.composite
def scattered(draw: st.DrawFn) -> list[list[Piece]]:
    """Files of pages, and now and then odd lengths, cut into runs of chunks drawn at random, some of them shared."""
    files = []
    for _ in range(draw(st.integers(1, 3))):
        at, pieces = 0, []
        for _ in range(draw(st.integers(0, 40))):
            length = draw(st.sampled_from([PAGE, PAGE, 2 * PAGE, 7 * PAGE, 20 * PAGE, 5000]))
            if draw(st.integers(0, 9)) == 0:
                at += length  # a hole
            pieces.append((draw(st.integers(0, 30)), at, length, draw(st.sampled_from([0, 0, 3 * PAGE, 77]))))
            at += length
        files.append(pieces)
    return files


@settings(max_examples=80, deadline=None)
@given(files=scattered(), room=st.sampled_from([40 * PAGE, 400 * PAGE]))
def test_every_byte_comes_from_its_place_in_its_chunk(files: list[list[Piece]], room: int) -> None:
    wants = wants_of(files)
    plain = plain_of(wants)
    chunks = [NOISE[row * 977 :][: int(length)] for row, length in enumerate(plain)]
    sizes = [max((offset + length for _, offset, length, _ in pieces), default=0) for pieces in files]
    written = [bytearray(size) for size in sizes]
    count = [np.zeros(size, dtype=np.uint8) for size in sizes]

    def write(number: int, offset: int, data: bytes) -> None:
        written[number][offset : offset + len(data)] = data
        count[number][offset : offset + len(data)] += 1

    with pytest.MonkeyPatch.context() as patch:
        sizes_of = {"REGION": 16 * PAGE, "STRETCH": 64 * PAGE, "_BEGUN": 32 * PAGE, "ROOM": room}
        for name, size in sizes_of.items():
            patch.setattr(assembly_plan, f"{name}_BYTES", size)
        plan = plan_assembly(wants, sizes, plain)
    for group, rows in plan.groups():
        memory = bytearray(room)
        for row in rows.tolist():
            at = int(np.searchsorted(plan.rows, row))
            if plan.place[at] != APART:
                start = int(plan.place[at])
                assert not np.frombuffer(memory, np.uint8)[start : start + len(chunks[row])].any(), (
                    "two chunks share a place"
                )
                memory[start : start + len(chunks[row])] = chunks[row]
                assert len(memory) == room
            for _, number, offset, length, chunk_offset in plan.apart[
                plan.first_apart[at] : plan.first_apart[at + 1]
            ].tolist():
                write(number, offset, chunks[row][chunk_offset : chunk_offset + length])
        for region in plan.regions(group):
            assert region.offset % (16 * PAGE) == 0
            inner = [place for piece in region.pieces for place in piece][:-1]
            assert region.is_aligned == all(place % ALIGNMENT == 0 for place in inner)
            write(region.file, region.offset, b"".join(memory[start:end] for start, end in region.pieces))
    expected = [bytearray(size) for size in sizes]
    for number, pieces in enumerate(files):
        for row, offset, length, chunk_offset in pieces:
            expected[number][offset : offset + length] = chunks[row][chunk_offset : chunk_offset + length]
            count[number][offset : offset + length] -= 1
    assert written == expected
    assert not any(each.any() for each in count), "something was written twice, or not at all"


def test_a_file_of_long_pieces_is_written_as_it_comes() -> None:
    plan = planned([[(number, number * REGION_BYTES, REGION_BYTES, 0) for number in range(50)]])
    assert (plan.place == APART).all()
    assert plan.placed() == {}
    assert [rows.tolist() for _, rows in plan.groups()] == [list(range(50))]


def test_neighbours_of_two_regions_are_cut_apart_and_both_regions_put_together() -> None:
    end = REGION_BYTES - PAGE
    plan = planned([[(0, 0, end, 0), (1, end, 2 * PAGE, PAGE), (2, end + 2 * PAGE, end, 0)]])
    (both,) = [region for group, _ in plan.groups() for region in plan.regions(group)]
    assert (both.offset, both.length, both.is_aligned) == (0, 2 * REGION_BYTES, True)
    second = end + PAGE  # chunks lie one after the other
    assert both.pieces == [
        (0, end),
        (second, second + PAGE),
        (second + PAGE, second + 2 * PAGE),
        (second + 2 * PAGE, second + 2 * PAGE + end),
    ]
    assert not len(plan.apart)


def test_regions_are_written_together_as_far_as_one_call_takes_them() -> None:
    """A call takes 1,024 pieces (IOV_MAX), here of the least length that need not be copied."""
    count = 8 * REGION_BYTES // ALIGNMENT
    file = [(number % 16, number * ALIGNMENT, ALIGNMENT, number // 16 * ALIGNMENT) for number in range(count)]
    plan = planned([file])
    found = [region for group, _ in plan.groups() for region in plan.regions(group)]
    assert [(region.length, len(region.pieces)) for region in found] == [(4 * REGION_BYTES, 1024)] * 2


def test_a_region_of_a_chunk_that_came_with_another_group_is_written_in_pieces() -> None:
    half, far = REGION_BYTES // 2, 40 * REGION_BYTES
    file = [(number, number * half, half, 0) for number in range(80)]
    shared, own = (0, far, half, 0), (81, far + half, half, 0)
    plan = planned([[*file, shared, own]])
    assert plan.placed() == {0: 64, 2: 16}
    assert plan.apart["file_offset"].tolist() == [far, far + half]


def test_what_finds_no_room_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_plan, "ROOM_BYTES", 3 * REGION_BYTES)
    half = REGION_BYTES // 2
    plan = planned([[(number, number * half, half, 0) for number in range(8)]])
    assert (plan.place[:6] >= 0).all()
    assert plan.apart["row"].tolist() == [6, 7]


def test_nothing_wanted_is_nothing_done() -> None:
    plan = plan_assembly(np.zeros(0, dtype=WANT_DTYPE), [0, 7], np.zeros(0, dtype="<u4"))
    assert list(plan.groups()) == []
