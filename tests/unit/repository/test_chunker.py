"""Cuts cover everything once, and content-defined ones find their way back after an insertion."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.repository.chunker import (
    BUNDLE_FILE_BYTES,
    CHUNK_BYTES,
    CONTENT_MAX_BYTES,
    CONTENT_MIN_BYTES,
    bundle_cuts,
    content_cuts,
    fixed_cuts,
)


def is_tiling(cuts: list[tuple[int, int]], length: int) -> bool:
    """Return whether cuts cover 0..length, each byte once, in order."""
    at = 0
    for offset, size in cuts:
        if offset != at or size <= 0:
            return False
        at += size
    return at == length


@given(length=st.integers(0, 20 * CHUNK_BYTES))
def test_fixed_cuts_tile_at_page_boundaries(length: int) -> None:
    cuts = list(fixed_cuts(length))
    assert is_tiling(cuts, length)
    assert all(offset % CHUNK_BYTES == 0 for offset, _ in cuts)
    assert CHUNK_BYTES % 8192 == 0


@given(sizes=st.lists(st.integers(0, BUNDLE_FILE_BYTES)))
def test_bundles_hold_every_file_once_and_are_as_full_as_they_can_be(sizes: list[int]) -> None:
    cuts = list(bundle_cuts(sizes))
    assert [number for first, end in cuts for number in range(first, end)] == list(range(len(sizes)))
    filled = [sum(sizes[first:end]) for first, end in cuts]
    assert all(0 <= size <= CHUNK_BYTES for size in filled)
    assert all(size + sizes[end] > CHUNK_BYTES for size, (_, end) in zip(filled[:-1], cuts[:-1], strict=True))


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), length=st.integers(1, 12 << 20))
def test_content_cuts_tile_within_their_limits(seed: int, length: int) -> None:
    cuts = list(content_cuts(memoryview(random.Random(seed).randbytes(length))))
    assert is_tiling(cuts, length)
    assert all(size <= CONTENT_MAX_BYTES for _, size in cuts)
    assert all(size >= CONTENT_MIN_BYTES for _, size in cuts[:-1])


def test_content_cuts_find_their_way_back_after_an_insertion() -> None:
    data = random.Random(5).randbytes(16 << 20)
    moved = data[: 3 << 20] + b"inserted" + data[3 << 20 :]
    first = {data[offset : offset + size] for offset, size in content_cuts(data)}
    second = {moved[offset : offset + size] for offset, size in content_cuts(moved)}
    assert len(second - first) <= 3
