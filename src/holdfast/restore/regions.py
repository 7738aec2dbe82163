"""The regions of files that a group of chunks makes up, and where their pieces lie in its memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.restore.writing import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 4 << 20
"""What one call writes: the disk has the next of its blocks before it is done with the first. Pieces that need not be
copied are of ALIGNMENT at least, so these are no more than IOV_MAX of limits.h (1,024)."""


class Region(NamedTuple):
    """A run of a file, by its number, and where its pieces (start, end) lie in its group's memory, in their order.

    ``is_aligned``: all begin at a multiple of ALIGNMENT there, and all but the last one end at one.
    """

    file: int
    offset: int
    length: int
    pieces: list[tuple[int, int]]
    is_aligned: bool


@dataclass(frozen=True)
class Regions:
    """Regions, sorted by group, and their pieces one after the other; ``first`` (one longer) is where each begins.

    ``start`` and ``end`` of a piece are places in the group's memory.
    """

    group: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    first: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def of_group(self, group: int) -> Iterator[Region]:
        """Yield the regions of a group; those that follow each other as one, where one call writes them."""
        return _joined_up(self._of_group(group))

    def _of_group(self, group: int) -> Iterator[Region]:
        begin, after = np.searchsorted(self.group, [group, group + 1]).tolist()
        bounds = self.first[begin : after + 1].tolist()
        pieces = (
            list(zip(self.start[first:last].tolist(), self.end[first:last].tolist(), strict=True))
            for first, last in pairwise(bounds)
        )
        columns = (column[begin:after].tolist() for column in (self.file, self.offset, self.length))
        yield from map(Region, *columns, pieces, self._are_aligned(begin, after).tolist())

    def _are_aligned(self, begin: int, after: int) -> np.ndarray:
        part = slice(self.first[begin], self.first[after])
        last = self.first[begin + 1 : after + 1] - self.first[begin] - 1
        is_odd = self.end[part] % ALIGNMENT != 0
        is_odd[last] = False
        is_odd |= self.start[part] % ALIGNMENT != 0
        odd_before = np.append(0, np.cumsum(is_odd))
        are_aligned: np.ndarray = np.diff(odd_before[np.append(0, last + 1)]) == 0
        return are_aligned


def _joined_up(regions: Iterator[Region]) -> Iterator[Region]:
    run: list[Region] = []
    for region in regions:
        if run and not _goes_on(run, region):
            yield _as_one(run)
            run = []
        run.append(region)
    if run:
        yield _as_one(run)


def _goes_on(run: list[Region], region: Region) -> bool:
    last = run[-1]
    return (
        (region.file, region.offset) == (last.file, last.offset + last.length)
        and last.is_aligned
        and region.is_aligned
        and region.offset + region.length - run[0].offset <= _MOST_BYTES
    )


def _as_one(run: list[Region]) -> Region:
    pieces = [piece for region in run for piece in region.pieces]
    return Region(run[0].file, run[0].offset, sum(region.length for region in run), pieces, run[0].is_aligned)
