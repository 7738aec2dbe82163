"""The verdict on chunks: which damage, if any, stands between a chunk and its reader. Looked up in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.check.report import DamageKind
from holdfast.repository.index import ChunkIndex, ChunkRecords, IndexedPack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.check.report import Findings

SOUND = -1


class ChunkVerdicts:
    """Knows of every indexed chunk the number of the damage that hits it, or SOUND.

    ``index`` holds what a reader would use: packs that are there with their length. The rest is ``_absent``: a chunk
    that only an absent pack holds is hit by that pack's damage.
    """

    def __init__(
        self, parts: Sequence[tuple[list[IndexedPack], ChunkRecords]], lengths: dict[str, int], findings: Findings
    ) -> None:
        def is_present(pack: IndexedPack) -> bool:
            return lengths.get(pack.ref.name) == pack.length

        self._findings = findings
        self.index = ChunkIndex(parts, is_present)
        self._absent = ChunkIndex(parts, lambda pack: not is_present(pack))
        self.present_packs = [number for number, pack in enumerate(self.index.packs) if is_present(pack)]
        self.indexed_names = {pack.ref.name for pack in self.index.packs}
        self._damage_of_pack = np.array([self._judge(pack, lengths) for pack in self.index.packs], dtype=np.int32)
        self._damage_of_row = np.full(len(self.index), SOUND, dtype=np.int32)
        self._missing: set[bytes] = set()
        self._missing_number: int | None = None

    def of(self, words: np.ndarray) -> np.ndarray:
        """Return the damage number, or SOUND, of each chunk id of an (n, 4) word array."""
        rows = self.index.lookup(words)
        found = rows >= 0
        verdicts = np.full(len(words), SOUND, dtype=np.int32)
        verdicts[found] = self._damage_of_row[rows[found]]
        if not found.all():
            verdicts[~found] = self._of_lost(words[~found])
        return verdicts

    def mark(self, rows: np.ndarray | int, number: int) -> None:
        """Note that index rows are hit by a damage."""
        self._damage_of_row[rows] = number

    def mark_missing(self, chunk: bytes) -> int:
        """Note a chunk that no pack holds; return the number of the one damage that stands for all of them."""
        self._missing.add(chunk)
        if self._missing_number is None:
            self._missing_number = self._findings.add(DamageKind.CHUNK_MISSING, f"chunk {chunk.hex()[:16]}", "")
        self._findings.restate(self._missing_number, f"{len(self._missing)} chunks are in no pack that an index names")
        return self._missing_number

    def rows_by_pack(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (pack number, its index rows by offset) for every pack that is there."""
        order = np.lexsort((self.index.offset, self.index.pack)).astype(np.uint32)
        packs = self.index.pack[order]
        for number in self.present_packs:
            start, end = np.searchsorted(packs, [number, number + 1])
            yield number, order[start:end]

    def _of_lost(self, words: np.ndarray) -> np.ndarray:
        rows = self._absent.lookup(words)
        verdicts = np.full(len(words), SOUND, dtype=np.int32)
        was_indexed = rows >= 0
        verdicts[was_indexed] = self._damage_of_pack[self._absent.pack[rows[was_indexed]]]
        for at in np.flatnonzero(~was_indexed):
            verdicts[at] = self.mark_missing(words[at].tobytes())
        return verdicts

    def _judge(self, pack: IndexedPack, lengths: dict[str, int]) -> int:
        length = lengths.get(pack.ref.name)
        if length == pack.length:
            return SOUND
        reason = "it is gone" if length is None else f"it has {length} bytes, and should have {pack.length}"
        return self._findings.add_to_pack(DamageKind.PACK_ABSENT, pack.ref.name, reason)
