"""Putting regions of files together in memory where they lie in several pieces: one long write instead of many.

Pages that changed since a first backup lie in chunks of later ones, so a region of a file may come from as many places
as it has pages. Written piece by piece, past the page cache, each would be a wait for the disk. The order of fetching
keeps memory bounded: chunks are taken in groups that make up a number of such regions, and a group shares one piece of
memory: what a chunk gives to it is copied in one loop (which is quicker than numpy's indexing by arrays), and whoever
brings the last byte writes the regions. A new group waits until fewer than GROUPS_AT_ONCE are under way.
A chunk that other groups share is fetched with the first; its pieces elsewhere are written by themselves.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.buffers import large_buffer
from holdfast.repository.paged_file import STRETCH_BYTES

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator, Sequence

REGION_BYTES = 1 << 20
GROUPS_AT_ONCE = 3
"""One that is being written, one that is put together, and one that is begun."""

_STRETCH_REGIONS = STRETCH_BYTES // REGION_BYTES
_FEW_REGIONS = _STRETCH_REGIONS // 2
"""A group takes on whole stretches until it has so many regions to put together."""

_ROOM_BYTES = (_FEW_REGIONS - 1 + _STRETCH_REGIONS) * REGION_BYTES
APART = -1
"""The place of a piece that is written by itself."""


@dataclass(frozen=True)
class AssemblyPlan:
    """What is fetched: ``wants`` (WANT_DTYPE, by row), none of which passes the end of its region.

    Of each want: ``group``, in the order in which groups are fetched, and ``place`` in its group's memory, or APART.
    Of each region that is put together, by groups: ``region_group``, ``file``, ``offset`` and ``length``. The regions
    of a group lie in its memory in this order, each at a multiple of REGION_BYTES.
    """

    wants: np.ndarray
    place: np.ndarray
    group: np.ndarray
    region_group: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray

    def groups(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each group in turn, with its index rows."""
        order = np.argsort(self.group, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1):
            if len(part):
                yield int(self.group[part[0]]), self.wants["row"][part]

    def regions(self, group: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (place in memory, file, offset, length) of the regions of a group."""
        first, last = np.searchsorted(self.region_group, [group, group + 1]).tolist()
        columns = (self.file, self.offset, self.length)
        for slot, region in enumerate(zip(*(column[first:last].tolist() for column in columns), strict=True)):
            yield slot * REGION_BYTES, *region


def plan_assembly(wants: np.ndarray, sizes: Sequence[int]) -> AssemblyPlan:
    """Return which pieces are put together; ``wants`` (WANT_DTYPE) are sorted by row, ``sizes`` those of the files.

    A region is put together when it falls into several pieces that cover it.
    """
    wants = _cut(wants)
    start = wants["file_offset"].astype(np.int64)
    number = start // REGION_BYTES
    order = np.lexsort((number, wants["file"]))
    file, ordered = wants["file"][order], number[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (file[1:] != file[:-1]) | (ordered[1:] != ordered[:-1])
    region = np.empty(len(order), dtype=np.int64)
    region[order] = np.cumsum(is_first) - 1
    at = order[is_first]
    offset = number[at] * REGION_BYTES
    length = np.minimum(np.array(sizes, dtype=np.int64)[wants["file"][at]] - offset, REGION_BYTES)
    covered = np.bincount(region, weights=wants["length"], minlength=len(at))
    pieces = np.bincount(region, minlength=len(at))
    is_assembled = (pieces > 1) & (covered == length)
    group_of_region = _groups(wants["file"][at], offset, is_assembled)
    group = _first_of_row(wants["row"], group_of_region[region])
    is_together = is_assembled[region] & (group == group_of_region[region])
    # one piece that comes with another group, and the region cannot be whole in time
    chosen = np.flatnonzero(is_assembled & (np.bincount(region, weights=is_together, minlength=len(at)) == pieces))
    slot = np.full(len(at), APART)
    slot[chosen] = np.arange(len(chosen)) - np.searchsorted(group_of_region[chosen], group_of_region[chosen])
    place = np.where(slot[region] == APART, APART, slot[region] * REGION_BYTES + start % REGION_BYTES)
    of_chosen = (column[chosen] for column in (group_of_region, wants["file"][at], offset, length))
    return AssemblyPlan(wants, place, group, *of_chosen)


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


def _groups(file: np.ndarray, offset: np.ndarray, is_assembled: np.ndarray) -> np.ndarray:
    """Return the group of each region, in the order of files and offsets: whole stretches, as chunks hold their pages.

    Its regions that are put together fit into _ROOM_BYTES.
    """
    stretch = offset // STRETCH_BYTES
    is_first = np.ones(len(file), dtype=bool)
    is_first[1:] = (file[1:] != file[:-1]) | (stretch[1:] != stretch[:-1])
    before = (np.cumsum(is_assembled) - is_assembled)[is_first] // _FEW_REGIONS
    group: np.ndarray = before[np.cumsum(is_first) - 1]
    return group


def _first_of_row(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the smallest group of each row's wants, for each of them; rows are sorted."""
    if not len(rows):
        return group
    first = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    return np.repeat(np.minimum.reduceat(group, first), np.diff(np.append(first, len(rows))))


@dataclass
class _Room:
    """The memory of a group, and how many bytes of its regions are still to come."""

    memory: mmap.mmap
    left: int


class Assembly:
    """The groups that are being put together; used by many threads. Memory is used again."""

    def __init__(self, plan: AssemblyPlan) -> None:
        self.plan = plan
        self._open: dict[int, _Room] = {}
        self._free: list[mmap.mmap] = []
        self._state = threading.Condition()
        self._is_closed = False

    def admit(self, group: int) -> None:
        """Wait until there is room for a group. All of its chunks must be handed out before those of the next."""
        left = sum(length for *_, length in self.plan.regions(group))
        if left:
            with self._state:
                self._state.wait_for(lambda: self._is_closed or len(self._open) < GROUPS_AT_ONCE)
                self._open[group] = _Room(self._free.pop() if self._free else large_buffer(_ROOM_BYTES), left)

    def put(self, group: int, places: np.ndarray, wants: np.ndarray, plain: memoryview) -> mmap.mmap | None:
        """Copy what is wanted of a chunk to its places in a group's memory; return that memory once all is there."""
        room = self._open[group]
        memory, lengths = room.memory, wants["length"]
        columns = (places, lengths, wants["chunk_offset"])
        for place, length, start in zip(*(column.tolist() for column in columns), strict=True):
            memory[place : place + length] = plain[start : start + length]
        with self._state:
            room.left -= int(lengths.sum())
            return memory if room.left == 0 else None

    def release(self, group: int) -> None:
        """Let go of a group that is written."""
        with self._state:
            self._free.append(self._open.pop(group).memory)
            self._state.notify()

    def close(self) -> None:
        """Let nobody wait any more: a thread has ended, and with it perhaps what it had of a group."""
        with self._state:
            self._is_closed = True
            self._state.notify_all()
