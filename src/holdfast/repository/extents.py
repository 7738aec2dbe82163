"""Laying what changed over what was there: the arithmetic of extents, on whole tables at once.

An extent names a run of a file and the place of its bytes in a chunk. Cutting one is moving its offset in the chunk
along; so a file of which some pages changed keeps pointing into its parent's chunks for all the others.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.manifest import EXTENT_DTYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import ChunkId

NO_EXTENTS = np.zeros(0, dtype=EXTENT_DTYPE)
_SPREAD = 0.25


def one_extent(length: int, chunk: ChunkId, chunk_offset: int = 0) -> np.ndarray:
    """Return the extents of a file of some bytes that lie in one chunk; none where it is empty."""
    extents = np.zeros(1 if length else 0, dtype=EXTENT_DTYPE)
    if length:
        extents[0] = (0, length, chunk_offset, np.void(chunk))
    return extents


def clip_extents(extents: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return what ``extents`` (sorted, not overlapping) say of the runs from ``starts`` to ``ends`` (sorted, apart)."""
    begins = extents["file_offset"].astype(np.int64)
    first = np.searchsorted(begins + extents["length"], starts, side="right")
    counts = np.maximum(np.searchsorted(begins, ends, side="left") - first, 0)
    run = np.repeat(np.arange(len(starts)), counts)
    which = np.arange(len(run)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    part: np.ndarray = extents.take(which)  # of rows, eight times as fast as an index
    begin = np.maximum(begins[which], starts[run])
    end = np.minimum(begins[which] + part["length"], ends[run])
    part["chunk_offset"] += (begin - begins[which]).astype(np.uint32)
    part["file_offset"] = begin
    part["length"] = end - begin
    return part


def page_extents(
    offsets: np.ndarray, page_bytes: int, end: int, cuts: Sequence[tuple[int, int]], ids: Sequence[ChunkId]
) -> np.ndarray:
    """Return the extents of pages of one file that lie back to back, up to ``end``, cut into chunks.

    ``offsets`` are the pages' places in the file, ascending; the last page may be short. A chunk begins with a page.
    """
    places = np.arange(len(offsets)) * page_bytes
    chunk_starts = np.array([offset for offset, _ in cuts], dtype=np.int64)
    chunk = np.searchsorted(chunk_starts, places, side="right") - 1
    is_first = np.ones(len(offsets), dtype=bool)
    is_first[1:] = (chunk[1:] != chunk[:-1]) | (np.diff(offsets) != page_bytes)
    first = np.flatnonzero(is_first)
    extents = np.zeros(len(first), dtype=EXTENT_DTYPE)
    extents["file_offset"] = offsets[first]
    extents["length"] = np.diff(np.append(places[first], end))
    extents["chunk_offset"] = places[first] - chunk_starts[chunk[first]]
    extents["chunk"] = np.frombuffer(b"".join(ids), dtype="V32")[chunk[first]]
    return extents


def join_extents(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return tables of extents that do not overlap as one, in order, with neighbours that go on in a chunk as one."""
    table = np.concatenate(parts or [NO_EXTENTS])
    table = table.take(np.argsort(table["file_offset"], kind="stable"))
    if len(table) < 2:
        return table
    before, after = table[:-1], table[1:]
    goes_on = (
        (before["file_offset"] + before["length"] == after["file_offset"])
        & (before["chunk_offset"] + before["length"] == after["chunk_offset"])
        & (before["chunk"] == after["chunk"])
    )
    if not goes_on.any():
        return table
    first = np.flatnonzero(np.concatenate(([True], ~goes_on)))
    joined = table.take(first)
    joined["length"] = np.add.reduceat(table["length"].astype(np.int64), first)
    return joined


def lay_over(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Return tables of extents, each sorted and not empty, as one: where they overlap, what a later one says holds.

    Those that follow one another in the file are taken as one layer. What a chunk is called does not matter here.
    """
    layers: list[list[np.ndarray]] = []
    end = 0
    for table in tables:
        if not layers or int(table["file_offset"][0]) < end:
            layers.append([])
        layers[-1].append(table)
        end = int(table["file_offset"][-1]) + int(table["length"][-1])
    return reduce(_laid, map(np.concatenate, layers)) if layers else NO_EXTENTS


def _laid(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    starts = above["file_offset"].astype(np.int64)
    ends = starts + above["length"]
    first, last = np.append(0, ends), np.append(starts, np.iinfo(np.int64).max)
    is_free = first < last
    return join_extents([clip_extents(below, first[is_free], last[is_free]), above])


def are_within(extents: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which extents (bool) name nothing but a part of what one of ``others`` (sorted, not empty) names."""
    starts, begins = others["file_offset"].astype(np.int64), extents["file_offset"].astype(np.int64)
    row = np.maximum(np.searchsorted(starts, begins, side="right") - 1, 0)
    other, skipped = others.take(row), begins - starts[row]
    is_within: np.ndarray = (
        (extents["chunk"] == other["chunk"])
        & (extents["chunk_offset"] == other["chunk_offset"] + skipped)
        & (skipped >= 0)
        & (skipped + extents["length"] <= other["length"])
    )
    return is_within


def hardly_used(extents: np.ndarray, share: float) -> np.ndarray:
    """Return which extents (bool) lie in chunks of which these use no more than a share (0 to 1).

    A chunk's own share is up to _SPREAD of it more or less, as its id says: so chunks of one age do not reach it all at
    once. A chunk is taken to end where the last extent in it does: no index is asked, and nobody uses what lies behind.
    """
    # The head of an id tells chunks apart as well as all of it does, and is sorted in a tenth of the time
    heads = np.ascontiguousarray(extents["chunk"]).view("<u8")[::4]
    distinct, chunk = np.unique(heads, return_inverse=True)
    used = np.bincount(chunk, weights=extents["length"], minlength=len(distinct))
    ends = np.zeros(len(distinct))
    np.maximum.at(ends, chunk, extents["chunk_offset"].astype(np.int64) + extents["length"])
    shares = share * (1 - _SPREAD + 2 * _SPREAD * (distinct / 2.0**64))
    is_hardly_used: np.ndarray = (used <= shares * ends)[chunk]
    return is_hardly_used


def pages_within(extents: np.ndarray, page_bytes: int, count: int) -> np.ndarray:
    """Return which (bool) of a file's first ``count`` pages begin in extents that are sorted and do not overlap."""
    places = np.arange(count) * page_bytes
    starts = extents["file_offset"].astype(np.int64)
    ends = np.append(starts + extents["length"], 0)  # before the first extent, row -1 finds none
    is_within: np.ndarray = places < ends[np.searchsorted(starts, places, side="right") - 1]
    return is_within


def runs_of(is_set: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (first, one past the last) of each run of true values."""
    edges = np.flatnonzero(np.diff(is_set.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def differing_bytes(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many bytes of a file two tables of extents take from different places; a hole is one place.

    The same bytes may lie in two places, so this is the most that can differ.
    """
    tables = [_with_ends(table) for table in (one, other)]
    edges = np.unique(np.concatenate([np.concatenate((starts, ends)) for starts, ends, _ in tables]))
    if len(edges) < 2:
        return 0
    places = [_places(starts, ends, table, edges[:-1]) for starts, ends, table in tables]
    same = (places[0][0] == places[1][0]) & (places[0][1] == places[1][1])
    return int(np.diff(edges)[~same].sum())


def _with_ends(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = table["file_offset"].astype(np.int64)
    return starts, starts + table["length"], table


def _places(
    starts: np.ndarray, ends: np.ndarray, table: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (chunk, where byte 0 of the file would be in it) at each of some offsets; zeros in a hole."""
    chunks, shifts = np.zeros(len(points), dtype="V32"), np.zeros(len(points), dtype=np.int64)
    row = np.searchsorted(starts, points, side="right") - 1
    inside = row >= 0
    inside[inside] = points[inside] < ends[row[inside]]
    chunks[inside] = table["chunk"][row[inside]]
    shifts[inside] = table["chunk_offset"][row[inside]].astype(np.int64) - starts[row[inside]]
    return chunks, shifts
