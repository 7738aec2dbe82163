"""Regions in many pieces are put together in memory, in groups that bound it; what comes out is what was asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.restore.assembly import APART, REGION_BYTES, Assembly, plan_assembly
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
    wants = wants_of(files)
    sizes = [max((offset + length for _, offset, length in pieces), default=0) for pieces in files]
    plan = plan_assembly(wants, sizes)
    assembly = Assembly(plan)
    written = [np.zeros(size, dtype=np.uint8) for size in sizes]
    rows = [sorted(set(group.tolist())) for group in plan.groups(wants)]
    assert sorted(row for group in rows for row in group) == sorted(set(wants["row"].tolist()))
    open_regions = set()
    for row in (row for group in rows for row in group):
        for at in np.flatnonzero(wants["row"] == row).tolist():
            _, number, offset, length, _ = wants[at].tolist()
            region = int(plan.region[at])
            if region == APART:
                written[number][offset : offset + length] += 1
                continue
            open_regions.add(region)
            area = assembly.put(region, offset, memoryview(bytes([1]) * length))
            if area is not None:
                start, size = int(plan.offset[region]), int(plan.length[region])
                assert int(plan.file[region]) == number
                written[number][start : start + size] += np.frombuffer(area[:size], dtype=np.uint8)
                area[:] = bytes(REGION_BYTES)
                assembly.release(region)
                open_regions.remove(region)
        assert len(open_regions) < 64
    assert open_regions == set()
    for number, pieces in enumerate(files):
        expected = np.zeros(sizes[number], dtype=np.uint8)
        for _, offset, length in pieces:
            expected[offset : offset + length] += 1
        assert (written[number] == expected).all()


def test_a_file_of_long_pieces_is_written_as_it_comes() -> None:
    wants = wants_of([[(number, number * REGION_BYTES, REGION_BYTES) for number in range(50)]])
    plan = plan_assembly(wants, [50 * REGION_BYTES])
    assert (plan.region == APART).all()
    assert [rows.tolist() for rows in plan.groups(wants)] == [list(range(50))]


def test_nothing_wanted_is_nothing_done() -> None:
    plan = plan_assembly(np.zeros(0, dtype=WANT_DTYPE), [0, 7])
    assert [rows.tolist() for rows in plan.groups(np.zeros(0, dtype=WANT_DTYPE)) if len(rows)] == []
