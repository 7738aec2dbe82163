"""Reading chunks: looked up in batches, fetched in the order in which they lie, each byte of a pack at most once."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.errors import DamageError
from holdfast.repository.frames import FrameOpener
from holdfast.repository.index import ChunkIndex, IndexedPack, chunk_words
from holdfast.repository.pack import HEADER_READ_BYTES, Frame, FrameCipher, open_frame_cipher, parse_header
from holdfast.repository.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage

SPAN_BYTES = 8 << 20
GAP_BYTES = 256 << 10
_CIPHERS_KEPT = 4096


class Span(NamedTuple):
    """A run of one pack that is fetched at once: ``rows`` are the index rows of the wanted chunks, by offset."""

    pack: IndexedPack
    offset: int
    length: int
    rows: np.ndarray


class ChunkReader:
    """Reads the chunks of one repository; used by many threads."""

    def __init__(self, storage: Storage, keys: Keys, index: ChunkIndex) -> None:
        self.index = index
        self.opener = FrameOpener(keys)
        self._storage, self._keys = storage, keys
        self._ciphers: OrderedDict[str, FrameCipher] = OrderedDict()
        self._lock = Lock()

    def rows(self, ids: Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Return the index rows of chunk ids; DamageError naming the first chunk that no index has."""
        words = chunk_words(ids)
        rows = self.index.lookup(words)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            first = words[missing[0]].tobytes().hex()
            raise DamageError(
                f"chunk {first[:16]}", f"in no pack that is indexed and there ({len(missing)} chunks are missing)"
            )
        return rows

    def spans(self, rows: np.ndarray) -> list[Span]:
        """Return how to fetch these rows: by pack and offset, in runs of up to SPAN_BYTES, small gaps included."""
        order = np.lexsort((rows, self.index.offset[rows], self.index.pack[rows]))
        in_order = rows[order]
        is_first = np.ones(len(rows), dtype=bool)
        is_first[1:] = in_order[1:] != in_order[:-1]
        return list(_cut_spans(self.index, in_order[is_first]))

    def fetch(self, span: Span) -> memoryview:
        """Return the stored bytes of a span."""
        return memoryview(self._storage.get(span.pack.ref.name, offset=span.offset, length=span.length))

    def fetch_with_cipher(self, span: Span) -> tuple[FrameCipher, memoryview]:
        """Return what opens the chunks of a span, and its stored bytes."""
        return self.cipher(span.pack), self.fetch(span)

    def frames(self, rows: np.ndarray) -> Iterator[tuple[bytes, Frame]]:
        """Yield (chunk id, frame) for each of some index rows."""
        index = self.index
        columns = (index.offset[rows], index.stored[rows], index.plain[rows])
        frames = map(Frame, *(column.tolist() for column in columns))
        for words, frame in zip(index.ids_at(rows), frames, strict=True):
            yield words.tobytes(), frame

    def sealed(self, span: Span, fetched: memoryview) -> Iterator[tuple[int, bytes, Frame, memoryview]]:
        """Yield (index row, chunk id, frame, sealed bytes) for each wanted chunk of a fetched span."""
        for row, (chunk, frame) in zip(span.rows.tolist(), self.frames(span.rows), strict=True):
            start = frame.offset - span.offset
            yield row, chunk, frame, fetched[start : start + frame.stored]

    def read_many(self, ids: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the plaintexts of chunk ids, in their order; fetched a bounded group at a time."""
        group = 256
        for at in range(0, len(ids), group):
            wanted = ids[at : at + group]
            spans = self.spans(self.rows(wanted))
            opened = {
                chunk: bytes(self.opener.open(cipher, frame, chunk, sealed))
                for span, (cipher, fetched) in zip(spans, side_by_side(self.fetch_with_cipher, spans), strict=True)
                for _, chunk, frame, sealed in self.sealed(span, fetched)
            }
            for chunk in wanted:
                yield opened[chunk]

    def read(self, chunk: bytes) -> bytes:
        """Return one chunk's plaintext."""
        return next(self.read_many([chunk]))

    def cipher(self, pack: IndexedPack) -> FrameCipher:
        """Return the cipher of a pack; the last ones used are kept."""
        with self._lock:
            known = self._ciphers.get(pack.ref.id)
            if known is not None:
                self._ciphers.move_to_end(pack.ref.id)
                return known
        length = min(HEADER_READ_BYTES, pack.length)
        header = parse_header(pack.ref, self._storage.get(pack.ref.name, length=length))
        cipher = open_frame_cipher(self._keys, pack.ref, header)
        with self._lock:
            self._ciphers[pack.ref.id] = cipher
            if len(self._ciphers) > _CIPHERS_KEPT:
                self._ciphers.popitem(last=False)
        return cipher


def _cut_spans(index: ChunkIndex, rows: np.ndarray) -> Iterator[Span]:
    """Cut rows that are sorted by pack and offset."""
    if not len(rows):
        return
    pack, start = index.pack[rows].astype(np.int64), index.offset[rows].astype(np.int64)
    end = start + index.stored[rows]
    jumps = (pack[1:] != pack[:-1]) | (start[1:] - end[:-1] > GAP_BYTES)
    for run in np.split(np.arange(len(rows)), np.flatnonzero(jumps) + 1):
        # within a run, cut again wherever the bytes since the run's start pass another multiple of SPAN_BYTES
        part = (end[run] - start[run[0]] - 1) // SPAN_BYTES
        for piece in np.split(run, np.flatnonzero(part[1:] != part[:-1]) + 1):
            first, last = piece[0], piece[-1]
            yield Span(index.packs[int(pack[first])], int(start[first]), int(end[last] - start[first]), rows[piece])
