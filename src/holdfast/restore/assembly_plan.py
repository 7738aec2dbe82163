"""Which regions of files are put together of several pieces, and of chunks that are opened where in memory.

Chunks are fetched in groups, each of which makes up a number of regions. The chunks of a group are opened side by side
in one piece of memory, and its regions are written from there: a place in that memory is all that a piece needs. A
chunk that other groups share is fetched with the first; its pieces elsewhere are written by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.chunker import STRETCH_BYTES
from holdfast.restore.regions import Regions
from holdfast.restore.writing import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.restore.regions import Region

REGION_BYTES = 1 << 20
ROOM_BYTES = 64 << 20
"""What the chunks of a group may take: a stretch, and as much again that nobody needs. Mostly it is 45 MiB at most."""

_BEGUN_BYTES = 16 << 20
"""A group takes on whole stretches, as chunks hold their pages, until its chunks take this much."""

APART = -1
"""The place of a chunk of which no region is put together."""


@dataclass(frozen=True)
class AssemblyPlan:
    """What is fetched, in which order, and what of it is put together.

    Of each chunk, sorted by index row (``rows``): its ``group``, by which groups are fetched, its ``place`` in the
    group's memory or APART, and where its wants begin (``first_apart``, one longer) in ``apart``, the WANT_DTYPE of
    what is written by itself.
    """

    rows: np.ndarray
    group: np.ndarray
    place: np.ndarray
    apart: np.ndarray
    first_apart: np.ndarray
    _regions: Regions = field(repr=False)

    def groups(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each group in turn, with its index rows."""
        order = np.argsort(self.group, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1):
            if len(part):
                yield int(self.group[part[0]]), self.rows[part]

    def placed(self) -> dict[int, int]:
        """Return how many chunks have a place in the memory of each group; groups of none are left out."""
        groups, counts = np.unique(self.group[self.place != APART], return_counts=True)
        return dict(zip(groups.tolist(), counts.tolist(), strict=True))

    def regions(self, group: int) -> Iterator[Region]:
        """Yield the regions that a group puts together; those that follow each other as one, where one call does."""
        return self._regions.of_group(group)


def plan_assembly(wants: np.ndarray, sizes: Sequence[int], plain: np.ndarray) -> AssemblyPlan:
    """Return what is put together; ``wants`` (WANT_DTYPE) are sorted by row and lie within their chunks.

    ``sizes`` are the lengths of the files, ``plain`` those of all chunks, by index row. A region is put together when
    several pieces cover it whose chunks are all fetched with its group.
    """
    wants = _cut(wants)
    is_first = _begins(wants["row"])
    first, chunk = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    region, at = _number_regions(wants)
    file, offset = wants["file"][at], wants["file_offset"][at].astype(np.int64) // REGION_BYTES * REGION_BYTES
    length = np.minimum(np.array(sizes, dtype=np.int64)[file] - offset, REGION_BYTES)
    is_split = _are_split(wants["length"], region, length)

    rows = wants["row"][first]
    room = -(-plain[rows].astype(np.int64) // ALIGNMENT) * ALIGNMENT
    room[~_any(is_split[region], first)] = 0
    group_of_region, group = _groups(file, offset, _smallest(region, first), room)
    place = _places(group, room)
    is_together = is_split[region] & (group[chunk] == group_of_region[region]) & (place[chunk] != APART)
    # one piece that comes with another group, and the region cannot be whole in time
    is_chosen = is_split & (np.bincount(region, weights=~is_together, minlength=len(at)) == 0)
    is_together = is_chosen[region]
    place[~_any(is_together, first)] = APART

    pieces = np.flatnonzero(is_together)
    pieces = pieces[np.lexsort((wants["file_offset"][pieces], region[pieces]))]
    start = place[chunk[pieces]] + wants["chunk_offset"][pieces]
    return AssemblyPlan(
        rows=rows,
        group=group,
        place=place,
        apart=wants[~is_together],
        first_apart=np.append(0, np.cumsum(~is_together))[np.append(first, len(wants))],
        _regions=Regions(
            group=group_of_region[is_chosen],
            file=file[is_chosen],
            offset=offset[is_chosen],
            length=length[is_chosen],
            first=np.searchsorted(region[pieces], np.append(np.flatnonzero(is_chosen), len(at))),
            start=start,
            end=start + wants["length"][pieces],
        ),
    )


def _cut(wants: np.ndarray) -> np.ndarray:
    """Return wants cut at the ends of regions, in the same order: pages of two regions may be neighbours in a chunk."""
    start = wants["file_offset"].astype(np.int64)
    end = start + wants["length"]
    counts = (end - 1) // REGION_BYTES - start // REGION_BYTES + 1
    if (counts == 1).all():
        return wants
    which = np.repeat(np.arange(len(wants)), counts)
    number = start[which] // REGION_BYTES + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = np.maximum(start[which], number * REGION_BYTES)
    cut = wants[which]
    cut["chunk_offset"] += (begin - start[which]).astype(np.uint32)
    cut["file_offset"] = begin
    cut["length"] = np.minimum(end[which], (number + 1) * REGION_BYTES) - begin
    return cut


def _number_regions(wants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the region of each want, numbered in the order of files and offsets, and of each region one want."""
    number = wants["file_offset"].astype(np.int64) // REGION_BYTES
    order = np.lexsort((number, wants["file"]))
    is_first = _begins(wants["file"][order]) | _begins(number[order])
    region = np.empty(len(order), dtype=np.int64)
    region[order] = np.cumsum(is_first) - 1
    return region, order[is_first]


def _are_split(piece_lengths: np.ndarray, region: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return which regions, of these lengths, fall into several pieces that cover them."""
    covered = np.bincount(region, weights=piece_lengths, minlength=len(lengths))
    are_split: np.ndarray = (np.bincount(region, minlength=len(lengths)) > 1) & (covered == lengths)
    return are_split


def _groups(
    file: np.ndarray, offset: np.ndarray, first_region: np.ndarray, room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each region and of each chunk, in the order of files and offsets.

    A chunk comes with its first region; ``room`` is what it takes in the memory of its group.
    """
    stretch = np.cumsum(_begins(file) | _begins(offset // STRETCH_BYTES)) - 1
    count = int(stretch[-1]) + 1 if len(stretch) else 0
    taken = np.bincount(stretch[first_region], weights=room, minlength=count).astype(np.int64)
    group = (np.cumsum(taken) - taken) // _BEGUN_BYTES
    return group[stretch], group[stretch[first_region]]


def _places(group: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return where each chunk is opened in the memory of its group; APART where it has no part in it, or it is full."""
    order = np.argsort(group, kind="stable")
    before = np.cumsum(room[order]) - room[order]
    first = np.flatnonzero(_begins(group[order]))
    place = np.empty(len(room), dtype=np.int64)
    place[order] = before - np.repeat(before[first], np.diff(np.append(first, len(order))))
    place[(room == 0) | (place + room > ROOM_BYTES)] = APART
    return place


def _begins(values: np.ndarray) -> np.ndarray:
    """Return which values differ from the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def _any(is_set: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return for each run of wants, by where it begins, whether (bool) any of them is."""
    found: np.ndarray = np.logical_or.reduceat(is_set, first)
    return found


def _smallest(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the smallest value of each run, by where it begins."""
    smallest: np.ndarray = np.minimum.reduceat(values, first)
    return smallest
