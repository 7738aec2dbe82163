"""What several groups need of a pack, fetched at once: the pack of a small backup would be read in a hundred bits.

A backup of few changes has one small chunk for each stretch of a file, and a restore comes to one stretch after the
other. So packs are cut into windows. One that several groups need is fetched whole when the first of them comes to it,
and held, still sealed, until the last has used it. Where HELD_BYTES are held already, each group fetches what it needs.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.repository.reader import GAP_BYTES, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.reader import ChunkReader

WINDOW_BYTES = 256 << 10
HELD_BYTES = 32 << 20


class _Room:
    """How many bytes may still be held."""

    def __init__(self) -> None:
        self._free = HELD_BYTES
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take room where there is enough; return whether there was."""
        with self._lock:
            is_enough = count <= self._free
            self._free -= count if is_enough else 0
        return is_enough

    def give_back(self, count: int) -> None:
        with self._lock:
            self._free += count


class _Window:
    """One run of a pack; ``span`` is all that any group wants of it."""

    def __init__(self, span: Span, room: _Room) -> None:
        self._span, self._room = span, room
        self._left = len(span.rows)
        self._content: memoryview | None = None
        self._lock = threading.Lock()

    @contextmanager
    def part(self, reader: ChunkReader, span: Span) -> Iterator[memoryview]:
        """Give the bytes of a span of this window; its rows count as used afterwards."""
        with self._lock:
            content = self._content = self._content or reader.fetch(self._span)
        start = span.offset - self._span.offset
        yield content[start : start + span.length]
        with self._lock:
            self._left -= len(span.rows)
            if self._left:
                return
            self._content = None
        self._room.give_back(self._span.length)


class Fetch(NamedTuple):
    """What a thread takes on: a span, and the window that it lies in, where that is held."""

    span: Span
    window: _Window | None = None

    @contextmanager
    def content(self, reader: ChunkReader) -> Iterator[memoryview]:
        """Give the stored bytes of the span."""
        if self.window is None:
            yield reader.fetch(self.span)
        else:
            with self.window.part(reader, self.span) as content:
                yield content


class Windows:
    """The windows of everything that a restore fetches; asked for one group of rows after another, by one at a time."""

    def __init__(self, reader: ChunkReader, rows: np.ndarray, group: np.ndarray) -> None:
        """``rows``: index rows, sorted, each once; ``group``: of each."""
        self._reader, self._room, self._sorted = reader, _Room(), rows
        index = reader.index
        order = np.lexsort((index.offset[rows], index.pack[rows]))
        self._rows = rows[order]
        self._position = np.empty(len(order), dtype=np.int64)
        self._position[order] = np.arange(len(order))
        self._start = index.offset[self._rows].astype(np.int64)
        self._end = self._start + index.stored[self._rows]
        self._first, self._window = _cut(index.pack[self._rows], self._start, self._end)
        self._is_shared = _differs_within(self._first, group[order])
        self._held: dict[int, _Window | None] = {}

    def fetches(self, rows: np.ndarray) -> Iterator[Fetch]:
        """Yield how to fetch the rows of a group, each once: by pack and offset, as far as windows allow."""
        at = np.sort(self._position[np.searchsorted(self._sorted, rows)])
        window = self._window[at]
        is_shared = self._is_shared[window]
        # what is not shared stays together, across windows
        edges = (is_shared[1:] != is_shared[:-1]) | (is_shared[1:] & (window[1:] != window[:-1]))
        for part in np.split(at, np.flatnonzero(edges) + 1):
            if len(part) and self._is_shared[number := int(self._window[part[0]])]:
                yield Fetch(self._span(part), self._hold(number))
            elif len(part):
                yield from map(Fetch, self._reader.spans(self._rows[part]))

    def _hold(self, number: int) -> _Window | None:
        """Return a shared window, or None where there was no room when the first group came to it."""
        if number not in self._held:
            last = self._first[number + 1] if number + 1 < len(self._first) else len(self._rows)
            span = self._span(np.arange(self._first[number], last))
            self._held[number] = _Window(span, self._room) if self._room.take(span.length) else None
        return self._held[number]

    def _span(self, at: np.ndarray) -> Span:
        first, last = at[0], at[-1]
        start = int(self._start[first])
        index = self._reader.index
        pack = index.packs[int(index.pack[self._rows[first]])]
        return Span(pack, start, int(self._end[last]) - start, self._rows[at])


def _cut(pack: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (where each window begins, the window of each frame) of frames sorted by pack and offset."""
    is_first = np.ones(len(pack), dtype=bool)
    is_first[1:] = (pack[1:] != pack[:-1]) | (start[1:] - end[:-1] > GAP_BYTES)
    begin = start[is_first][np.cumsum(is_first) - 1]
    part = (end - begin - 1) // WINDOW_BYTES
    is_first[1:] |= part[1:] != part[:-1]
    return np.flatnonzero(is_first), np.cumsum(is_first) - 1


def _differs_within(first: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return of each run of values, by where it begins, whether (bool) they are not all the same."""
    if not len(first):
        return np.zeros(0, dtype=bool)
    differs: np.ndarray = np.minimum.reduceat(values, first) != np.maximum.reduceat(values, first)
    return differs
