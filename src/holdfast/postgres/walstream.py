"""The WAL without its page headers, in which each record is one run of bytes, and the way back to positions.

A record that began before these pages is put in front of them. Every record begins at a multiple of eight bytes
(``MAXALIGN``), in the file as here: headers and blocks are multiples of eight, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.postgres.walpage import FIRST_IS_CONTRECORD, FIRST_IS_OVERWRITE_CONTRECORD, HEADER_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.postgres.walpage import Pages

    Offsets = NDArray[np.int64]
    Positions = NDArray[np.uint64]

ALIGNMENT_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Carried:
    """The beginning of a record that goes on in the pages to come, and where in the WAL it began."""

    content: bytes
    start: int


class Stream:
    """``content`` is what was carried over, then the pages without their headers; offsets count from its start."""

    def __init__(self, carried: Carried | None, pages: Pages) -> None:
        self._carried = carried
        self._start = int(pages.start)
        self._block_size = pages.shape.block_size
        self._first_header = pages.first_header_bytes
        self._front = len(carried.content) if carried else 0
        self._first_usable = self._block_size - self._first_header
        self._usable = self._block_size - HEADER_BYTES
        self.content = self._without_headers(pages)
        self.page_offsets = self._offsets_of_pages(len(pages))
        info = pages.headers["info"]
        self.continued_bytes = np.where(info & FIRST_IS_CONTRECORD, pages.headers["remaining"], 0).astype(np.int64)
        """For each page how much of a record that began before it says is still to come."""
        self.abandons = (info & FIRST_IS_OVERWRITE_CONTRECORD) != 0
        """For each page whether the record before it was given up after a crash (``xlogreader.c``)."""

    def __len__(self) -> int:
        """Return how many bytes there are, a multiple of eight."""
        return len(self.content)

    def first_record_offset(self) -> int | None:
        """Return where the first record begins that does not go on from before; None when none does here."""
        ends = self.page_offsets + _aligned(self.continued_bytes)
        next_page = np.append(self.page_offsets[1:], len(self.content))
        begins = np.flatnonzero(ends < next_page)
        return int(ends[begins[0]]) if len(begins) else None

    def positions(self, offsets: Offsets) -> Positions:
        """Return the position in the WAL of each offset; of what was carried over only the start has one."""
        inside = (offsets - self._front).astype(np.uint64) + np.uint64(self._usable - self._first_usable)
        page, within = np.divmod(inside, np.uint64(self._usable))
        found = page * np.uint64(self._block_size) + within + np.uint64(HEADER_BYTES) + np.uint64(self._start)
        if self._carried:
            found[offsets < self._front] = self._carried.start
        return found

    def ends(self, offsets: Offsets) -> Positions:
        """Return the position just after what ends at each offset: before a page's header, where it ends a page."""
        aligned = _aligned(offsets)
        return self.positions(aligned - ALIGNMENT_BYTES) + np.uint64(ALIGNMENT_BYTES)

    def carry(self, offset: int) -> Carried:
        """Return what begins at an offset, to be put in front of the next pages."""
        start = int(self.positions(np.array([offset]))[0])
        return Carried(self.content[offset:].tobytes(), start)

    def _without_headers(self, pages: Pages) -> NDArray[np.uint8]:
        content = np.empty(self._front + self._offset_of_page(len(pages)), np.uint8)
        if self._carried:
            content[: self._front] = np.frombuffer(self._carried.content, np.uint8)
        if len(pages):
            words = np.frombuffer(pages.content, "<u8").reshape(len(pages), self._block_size // 8)
            target = content[self._front :].view("<u8")
            first = self._first_usable // 8
            target[:first] = words[0, self._first_header // 8 :]
            target[first:].reshape(len(pages) - 1, self._usable // 8)[:] = words[1:, HEADER_BYTES // 8 :]
        return content

    def _offset_of_page(self, number: int) -> int:
        return self._first_usable + (number - 1) * self._usable if number else 0

    def _offsets_of_pages(self, count: int) -> Offsets:
        offsets = np.arange(count, dtype=np.int64) * self._usable + (self._first_usable - self._usable)
        offsets[:1] = 0
        return offsets + self._front


def _aligned(lengths: Offsets) -> Offsets:
    return lengths + (ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES
