"""Checks the extents of files in batches: every chunk found, every run inside its chunk, every file tiled soundly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.errors import DamageError
from holdfast.repository.extent_list import decode_list, distinct_chunks
from holdfast.repository.file_extents import UNTILED, untiled
from holdfast.repository.index import chunk_words
from holdfast.repository.manifest import EXTENT_DTYPE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.check.chunks import ChunkVerdicts
    from holdfast.repository.check.reading import SoundReader

Fault = int | str
"""The number of a damage that hits a file, or what is unsound in its own description."""

_CUT_OFF = "its list of extents is cut off"
_OUTSIDE = "an extent passes the end of its chunk"
_ANY_LENGTH = np.int64(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class ListSummary:
    """What is worth keeping of one stored list of extents: where in the file it ends, and its faults."""

    end: int
    faults: tuple[Fault, ...]


class ExtentLists:
    """Checks entries leaf by leaf; a stored list of extents is read once, however many files and snapshots name it."""

    def __init__(self, chunks: SoundReader, verdicts: ChunkVerdicts) -> None:
        self._chunks, self._verdicts = chunks, verdicts
        self._lists: dict[bytes, ListSummary] = {}
        self.count = 0

    def check(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Fault]]:
        """Yield (entry, fault) for everything that is wrong with the entries of one leaf."""
        yield from self._check_inline([entry for entry in entries if entry.extents])
        long = [entry for entry in entries if entry.extent_chunks]
        self._summarise({chunk for entry in long for chunk in entry.extent_chunks} - self._lists.keys())
        for entry in long:
            for fault in self._faults_of_lists(entry):
                yield entry, fault

    def _check_inline(self, entries: list[Entry]) -> Iterator[tuple[Entry, Fault]]:
        whole = [entry for entry in entries if len(entry.extents) % EXTENT_DTYPE.itemsize == 0]
        if len(whole) < len(entries):
            yield from ((entry, _CUT_OFF) for entry in entries if len(entry.extents) % EXTENT_DTYPE.itemsize)
        if not whole:
            return
        extents = np.frombuffer(b"".join(entry.extents for entry in whole), dtype=EXTENT_DTYPE)
        owner = np.repeat(np.arange(len(whole)), [len(entry.extents) // EXTENT_DTYPE.itemsize for entry in whole])
        for at in untiled(extents, owner, [entry.size for entry in whole]):
            yield whole[owner[at]], UNTILED
        chunks, chunk = distinct_chunks(extents["chunk"])
        reach = extents["chunk_offset"].astype(np.int64) + extents["length"]
        for at, fault in self._chunk_faults(chunks, chunk, reach):
            yield whole[owner[at]], fault

    def _chunk_faults(self, chunks: np.ndarray, chunk: np.ndarray, reach: np.ndarray) -> Iterator[tuple[int, Fault]]:
        """Yield (row, fault) for extents whose chunk is hit, or that reach outside of it.

        Each is given by the number of its chunk among ``chunks`` (V32), which are looked up once however many extents
        they have, and by how far into it it reaches.
        """
        self.count += len(chunk)
        words = chunk_words(chunks)
        verdicts = self._verdicts.of(words)
        if (verdicts >= 0).any():
            for at in np.flatnonzero(verdicts[chunk] >= 0).tolist():
                yield at, int(verdicts[chunk[at]])
        index = self._verdicts.index
        if not len(index):
            return
        rows = index.lookup(words)
        lengths = np.where(rows >= 0, index.plain[np.maximum(rows, 0)], _ANY_LENGTH)
        for at in np.flatnonzero(reach > lengths[chunk]).tolist():
            yield at, _OUTSIDE

    def _summarise(self, chunks: set[bytes]) -> None:
        for chunk, content in self._chunks.read(sorted(chunks)):
            self._lists[chunk] = ListSummary(0, (content,)) if isinstance(content, int) else self._summary(content)

    def _summary(self, content: bytes) -> ListSummary:
        try:
            listed = decode_list(content, "")
        except DamageError as error:
            return ListSummary(0, (error.reason,))
        self.count += len(listed.length)
        reach = listed.chunk_offset + listed.length
        faults = {fault for _, fault in self._chunk_faults(listed.chunks, listed.chunk, reach)}
        return ListSummary(listed.end, tuple(sorted(faults, key=str)))

    def _faults_of_lists(self, entry: Entry) -> set[Fault]:
        lists = [self._lists[chunk] for chunk in entry.extent_chunks]
        faults = {fault for summary in lists for fault in summary.faults}
        if max(summary.end for summary in lists) > entry.size:
            faults.add(UNTILED)
        return faults
