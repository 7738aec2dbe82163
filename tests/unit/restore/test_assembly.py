"""Regions in many pieces are put together in memory, in groups that bound it; what comes out is what was asked for."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.restore.assembly import APART, GROUPS_AT_ONCE, REGION_BYTES, Assembly, plan_assembly
from holdfast.restore.plan import WANT_DTYPE

PAGE = 8192


def wants_of(files: list[list[tuple[int, int, int]]]) -> np.ndarray:
    """Return wants, sorted by row, from each file's pieces (row, file offset, length)."""
    rows = [(row, number, offset, length, 0) for number, pieces in enumerate(files) for row, offset, length in pieces]
    table = np.array(rows, dtype=WANT_DTYPE)
    return table[np.argsort(table["row"], kind="stable")]


@st.composite
def scattered(draw: st.DrawFn) -> list[list[tuple[int, int, int]]]:
    """Files of pages, cut into runs that lie in chunks drawn at random, some of which are shared."""
    files = []
    for _ in range(draw(st.integers(1, 3))):
        at, pieces = 0, []
        for _ in range(draw(st.integers(0, 60))):
            pages = draw(st.sampled_from([1, 1, 2, 7, 128]))
            if draw(st.integers(0, 9)) == 0:
                at += PAGE * pages  # a hole
            pieces.append((draw(st.integers(0, 30)), at, pages * PAGE))
            at += pages * PAGE
        files.append(pieces)
    return files


@settings(max_examples=200, deadline=None)
@given(files=scattered())
def test_every_byte_is_written_once_and_regions_are_whole(files: list[list[tuple[int, int, int]]]) -> None:
    sizes = [max((offset + length for _, offset, length in pieces), default=0) for pieces in files]
    plan = plan_assembly(wants_of(files), sizes)
    wants = plan.wants
    assembly = Assembly(plan)
    written = [np.zeros(size, dtype=np.uint8) for size in sizes]
    seen: list[int] = []
    for group, rows in plan.groups():
        assembly.admit(group)
        memory = None
        for row in sorted(set(rows.tolist())):
            which = wants["row"] == row
            for at in np.flatnonzero(which & (plan.place == APART)).tolist():
                _, number, offset, length, _ = wants[at].tolist()
                written[number][offset : offset + length] += 1
            together = np.flatnonzero(which & (plan.place != APART))
            assert (plan.group[together] == group).all()
            if len(together):
                assert memory is None, "the group was whole before its last piece"
                plain = memoryview(bytes([1]) * 2 * REGION_BYTES)
                memory = assembly.put(group, plan.place[together], wants[together], plain)
        seen += sorted(set(rows.tolist()))
        regions = list(plan.regions(group))
        assert (memory is not None) == bool(regions)
        for place, number, offset, length in regions:
            assert offset % REGION_BYTES == place % REGION_BYTES == 0
            written[number][offset : offset + length] += np.frombuffer(memory[place : place + length], dtype=np.uint8)
        if memory is not None:
            memory[:] = bytes(len(memory))
            assembly.release(group)
    assert sorted(seen) == sorted(set(wants["row"].tolist()))
    for number, pieces in enumerate(files):
        expected = np.zeros(sizes[number], dtype=np.uint8)
        for _, offset, length in pieces:
            expected[offset : offset + length] += 1
        assert (written[number] == expected).all()


def test_a_file_of_long_pieces_is_written_as_it_comes() -> None:
    wants = wants_of([[(number, number * REGION_BYTES, REGION_BYTES) for number in range(50)]])
    plan = plan_assembly(wants, [50 * REGION_BYTES])
    assert (plan.place == APART).all()
    assert [rows.tolist() for _, rows in plan.groups()] == [list(range(50))]


def test_neighbours_of_two_regions_are_cut_apart_and_both_regions_put_together() -> None:
    end = REGION_BYTES - PAGE
    plan = plan_assembly(wants_of([[(0, 0, end), (1, end, 2 * PAGE), (2, end + 2 * PAGE, end)]]), [2 * REGION_BYTES])
    assert plan.wants[["file_offset", "length", "chunk_offset"]].tolist() == [
        (0, end, 0), (end, PAGE, 0), (REGION_BYTES, PAGE, PAGE), (REGION_BYTES + PAGE, end, 0)
    ]  # fmt: skip
    assert plan.place.tolist() == plan.wants["file_offset"].tolist()


def test_nothing_wanted_is_nothing_done() -> None:
    plan = plan_assembly(np.zeros(0, dtype=WANT_DTYPE), [0, 7])
    assert list(plan.groups()) == []


def halves(count: int) -> tuple[np.ndarray, list[int]]:
    """Return the wants of a file of ``count`` regions, each in two pieces of chunks of their own."""
    half = REGION_BYTES // 2
    return wants_of([[(number, number * half, half) for number in range(2 * count)]]), [count * REGION_BYTES]


def test_a_group_waits_until_another_is_written_or_a_thread_has_ended() -> None:
    """So memory is bounded, and a failure ends all threads."""
    wants, sizes = halves(32 * (GROUPS_AT_ONCE + 2))
    plan = plan_assembly(wants, sizes)
    groups = [group for group, _ in plan.groups()]
    assert len(groups) == GROUPS_AT_ONCE + 2
    assembly, admitted = Assembly(plan), queue.Queue[int]()

    def admit_all() -> None:
        for group in groups:
            assembly.admit(group)
            admitted.put(group)

    thread = threading.Thread(target=admit_all)
    thread.start()
    assert [admitted.get(timeout=10) for _ in range(GROUPS_AT_ONCE)] == groups[:GROUPS_AT_ONCE]
    with pytest.raises(queue.Empty):
        admitted.get(timeout=0.05)
    assembly.release(groups[1])
    assert admitted.get(timeout=10) == groups[GROUPS_AT_ONCE]
    assembly.close()
    assert admitted.get(timeout=10) == groups[GROUPS_AT_ONCE + 1]
    thread.join(10)
    assert not thread.is_alive()
