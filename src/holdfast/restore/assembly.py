"""Putting regions of files together in memory where they lie in many pieces: one long write instead of many short ones.

Pages that changed since a first backup lie in chunks of later ones, so a region of a file may come from dozens of
places. Written piece by piece, past the page cache, each would be a wait for the disk. The order of fetching keeps
memory bounded: chunks are taken in groups that make up a number of such regions, and only these are open at a time.
A chunk that other groups share is fetched with the first; its pieces elsewhere are written by themselves.
"""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.paged_file import STRETCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REGION_BYTES = 1 << 20
_PIECES = 2
"""A region of more pieces than this is put together."""

_REGIONS_AT_ONCE = STRETCH_BYTES // REGION_BYTES
APART = -1
"""The region of a piece that is written by itself."""


@dataclass(frozen=True)
class AssemblyPlan:
    """``region`` of each want: a number, or APART; ``group`` of each want, in the order in which groups are fetched.

    Of each region: ``file``, ``offset`` and ``length``.
    """

    region: np.ndarray
    group: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray

    def groups(self, wants: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the index rows of each group in turn."""
        order = np.argsort(self.group, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1):
            yield wants["row"][part]


def plan_assembly(wants: np.ndarray, sizes: Sequence[int]) -> AssemblyPlan:
    """Return which pieces are put together; ``wants`` (WANT_DTYPE) are sorted by row, ``sizes`` those of the files.

    A region is put together when it falls into many pieces that lie inside and cover it.
    """
    start = wants["file_offset"].astype(np.int64)
    number = start // REGION_BYTES
    is_inside = (start + wants["length"] - 1) // REGION_BYTES == number
    order = np.lexsort((number, wants["file"]))
    file, ordered = wants["file"][order], number[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (file[1:] != file[:-1]) | (ordered[1:] != ordered[:-1])
    region = np.empty(len(order), dtype=np.int64)
    region[order] = np.cumsum(is_first) - 1
    at = order[is_first]
    offset = number[at] * REGION_BYTES
    length = np.minimum(np.array(sizes, dtype=np.int64)[wants["file"][at]] - offset, REGION_BYTES)
    covered = np.bincount(region, weights=np.where(is_inside, wants["length"], 0), minlength=len(at))
    is_assembled = (np.bincount(region, minlength=len(at)) > _PIECES) & (covered == length)
    group_of_region = _groups(wants["file"][at], offset, is_assembled)
    group = _first_of_row(wants["row"], group_of_region[region])
    is_together = is_assembled[region] & is_inside & (group == group_of_region[region])
    # one piece that comes with another group, and the region cannot be whole in time
    is_whole = np.bincount(region, weights=is_together) == np.bincount(region)
    region = np.where(is_together & is_whole[region], region, APART)
    return AssemblyPlan(region, group, wants["file"][at], offset, length)


def _groups(file: np.ndarray, offset: np.ndarray, is_assembled: np.ndarray) -> np.ndarray:
    """Return the group of each region, in the order of files and offsets: whole stretches, as chunks hold their pages.

    A group has fewer than twice _REGIONS_AT_ONCE regions to put together.
    """
    stretch = offset // STRETCH_BYTES
    is_first = np.ones(len(file), dtype=bool)
    is_first[1:] = (file[1:] != file[:-1]) | (stretch[1:] != stretch[:-1])
    before = (np.cumsum(is_assembled) - is_assembled)[is_first] // _REGIONS_AT_ONCE
    group: np.ndarray = before[np.cumsum(is_first) - 1]
    return group


def _first_of_row(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the smallest group of each row's wants, for each of them; rows are sorted."""
    if not len(rows):
        return group
    first = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    return np.repeat(np.minimum.reduceat(group, first), np.diff(np.append(first, len(rows))))


@dataclass
class _OpenRegion:
    """A region being put together."""

    area: mmap.mmap
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class Assembly:
    """The regions that are being put together; used by many threads. Areas are used again."""

    def __init__(self, plan: AssemblyPlan) -> None:
        self.plan = plan
        self._open: dict[int, _OpenRegion] = {}
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def put(self, region: int, offset: int, data: memoryview) -> mmap.mmap | None:
        """Put a piece of a file into its region; return the region's memory (page-aligned) once it is whole."""
        with self._lock:
            found = self._open.get(region)
            if found is None:
                area = self._free.pop() if self._free else mmap.mmap(-1, REGION_BYTES)
                found = self._open[region] = _OpenRegion(area, int(self.plan.length[region]))
        start = offset - int(self.plan.offset[region])
        found.area[start : start + len(data)] = data
        with found.lock:
            found.left -= len(data)
            is_whole = found.left == 0
        return found.area if is_whole else None

    def release(self, region: int) -> None:
        """Let go of a region that is written."""
        with self._lock:
            self._free.append(self._open.pop(region).area)
