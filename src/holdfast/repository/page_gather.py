"""Gathers the changed pages of a stretch of a file into new chunks, and lays them over what the parent has.

Blocks of one region (a fixed chunk) are read where the last gathered page ends. Pages that are known are written over
by the next block; those that changed move together, and become chunks that hold pages of many regions. With them move
the pages that heal, what is still used of chunks that are hardly used: so these can be let go, and no restore has to
open many chunks for few pages. A region that is new, or moves almost whole, is kept as it was read, and becomes a chunk
of its own, whose id may be known. What is hashed is always what is stored: both are taken from this buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.chunker import CHUNK_BYTES, fixed_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import clip_extents, join_extents, page_extents, runs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.file_pages import FilePages, Pages
    from holdfast.repository.intake import Intake
    from holdfast.repository.sources import FileSource

_WHOLE_FROM = 7 / 8
"""A region of which more than this share moves is stored whole."""


class PageGatherer:
    """Takes the blocks of one stretch of a file in their order; ``finish`` returns the stretch's extents."""

    def __init__(self, intake: Intake, source: FileSource, pages: FilePages, buffer: memoryview) -> None:
        self._intake, self._source, self._pages, self._buffer = intake, source, pages, buffer
        self._bytes = np.frombuffer(buffer, dtype=np.uint8)
        self._gathered: list[np.ndarray] = []
        self._gathered_end = 0
        self._whole: list[tuple[int, int]] = []
        self._filled = 0
        self._kept: list[np.ndarray] = []
        self._parts: list[np.ndarray] = []

    def room(self) -> memoryview:
        """Return where the next block is to be read, CHUNK_BYTES long."""
        if self._filled + CHUNK_BYTES > len(self._buffer):
            self._store_whole()
        if self._filled + CHUNK_BYTES > len(self._buffer):
            self._store_gathered()
        return self._buffer[self._filled : self._filled + CHUNK_BYTES]

    def take(self, offset: int, length: int) -> None:
        """Take a block: ``length`` bytes from ``offset`` of the file (a multiple of CHUNK_BYTES), now in ``room``."""
        block = self._buffer[self._filled : self._filled + length]
        offsets = self._offsets(offset, length)
        pages = _numbers(offset, len(offsets), self._pages.page_bytes)
        moves = self._with_healing(pages, self._pages.differing(pages, block))
        self._intake.count_read(length)
        if _is_most(moves):
            self._whole.append((offset, length))
            self._filled += length
        else:
            self._kept.append(offsets[~moves])
            if moves.any():
                self._gather(block, offsets, moves)
        if length % self._pages.page_bytes:  # the file's end: pages after a short one would not lie at their multiple
            self._store_whole()
            self._store_gathered()

    def wanted(self, offset: int, length: int) -> np.ndarray | None:
        """Return which pages of a block must be read (bool); None where it must be read whole, and ``take``n."""
        size = self._pages.page_bytes
        pages = _numbers(offset, length // size, size)
        is_wanted = self._pages.wanted(pages)
        if is_wanted is None or length % size:
            return None
        is_wanted = self._with_healing(pages, is_wanted)
        return None if _is_most(is_wanted) else is_wanted

    def take_some(self, offset: int, length: int, is_wanted: np.ndarray) -> None:
        """Take a block of which only the pages that are wanted were read: they lie back to back in ``room``."""
        size, offsets, moves = self._pages.page_bytes, self._offsets(offset, length), np.zeros_like(is_wanted)
        read, unread = offsets[is_wanted], offsets[~is_wanted]
        block = self._buffer[self._filled : self._filled + len(read) * size]
        differs = self._pages.differing(read // size, block)
        moves[is_wanted] = moves_of_read = self._with_healing(read // size, differs)
        self._pages.keep(unread // size)
        self._kept.append(offsets[~moves])
        if moves.any():
            self._gather(block, read, moves_of_read)
        self._intake.count_read(len(block))
        self._intake.count_unread(length - len(block))

    def finish(self) -> np.ndarray:
        """Store what is left; return the extents of everything that was taken (EXTENT_DTYPE, by file offset)."""
        self._store_whole()
        self._store_gathered()
        if self._kept:
            self._parts.append(self._known(np.concatenate(self._kept)))
        return join_extents(self._parts)

    def _offsets(self, offset: int, length: int) -> np.ndarray:
        """Return where each page of a block begins in the file."""
        return np.arange(offset, offset + length, self._pages.page_bytes)

    def _known(self, offsets: np.ndarray) -> np.ndarray:
        """Return what the parent has of the pages at some offsets."""
        size = self._pages.page_bytes
        first = int(offsets[0]) // size
        is_kept = np.zeros(int(offsets[-1]) // size - first + 1, dtype=bool)
        is_kept[offsets // size - first] = True
        starts, ends = runs_of(is_kept)
        return clip_extents(self._pages.stored.table, (starts + first) * size, (ends + first) * size)

    def _with_healing(self, pages: Pages, differs: np.ndarray) -> np.ndarray:
        """Return which pages of a region are to move; where none changed, none does."""
        healing = self._pages.healing
        return differs | healing[pages] if len(healing) and differs.any() else differs

    def _gather(self, block: memoryview, offsets: np.ndarray, moves: np.ndarray) -> None:
        """Move pages to the end of those gathered before."""
        self._store_whole()
        size = self._pages.page_bytes
        count = len(block) // size
        chosen = np.flatnonzero(moves[:count])
        moved = np.frombuffer(block[: count * size], dtype=np.uint8).reshape(-1, size)[chosen].reshape(-1)
        tail = np.frombuffer(block[count * size :], dtype=np.uint8).copy() if moves[count:].any() else moved[:0]
        for part in (moved, tail):
            self._bytes[self._gathered_end : self._gathered_end + len(part)] = part
            self._gathered_end += len(part)
        self._gathered.append(offsets[moves])
        self._filled = self._gathered_end

    def _store_whole(self) -> None:
        """Store the regions that are kept as they are: a chunk each."""
        if not self._whole:
            return
        size = self._pages.page_bytes
        offsets = np.concatenate([np.arange(start, start + length, size) for start, length in self._whole])
        lengths = [length for _, length in self._whole]
        ends = np.cumsum(lengths).tolist()
        cuts = [(end - length, length) for end, length in zip(ends, lengths, strict=True)]
        self._store(self._source.content_class, self._buffer[self._gathered_end : self._filled], offsets, cuts)
        self._whole, self._filled = [], self._gathered_end

    def _store_gathered(self) -> None:
        """Store the pages gathered so far."""
        if self._gathered:
            content = self._buffer[: self._gathered_end]
            self._store(ContentClass.PAGES, content, np.concatenate(self._gathered), list(fixed_cuts(len(content))))
        self._gathered, self._gathered_end, self._filled = [], 0, 0

    def _store(
        self, content_class: ContentClass, content: memoryview, offsets: np.ndarray, cuts: Sequence[tuple[int, int]]
    ) -> None:
        ids, unsound = self._intake.store_pages(content_class, content, self._source, offsets, cuts)
        self._pages.doubt(unsound // self._pages.page_bytes)
        self._parts.append(page_extents(offsets, self._pages.page_bytes, len(content), cuts, ids))


def _is_most(moves: np.ndarray) -> bool:
    return bool(np.count_nonzero(moves) > _WHOLE_FROM * len(moves))


def _numbers(offset: int, count: int, page_bytes: int) -> slice:
    """Return the numbers of ``count`` pages from an offset of a file."""
    first = offset // page_bytes
    return slice(first, first + count)
