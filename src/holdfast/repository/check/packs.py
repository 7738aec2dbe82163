"""Reads packs: compares their bytes with the digest in the index, or opens them down to every chunk id."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from holdfast.errors import DamageError, NotFoundError
from holdfast.repository.check.report import DamageKind
from holdfast.repository.frames import FrameOpener
from holdfast.repository.pack import TABLE_DTYPE, open_frame_cipher, open_trailer, parse_header

if TYPE_CHECKING:
    from holdfast.progress import Reporter
    from holdfast.repository.check.chunks import ChunkVerdicts
    from holdfast.repository.check.report import Findings
    from holdfast.repository.index import ChunkIndex, IndexedPack
    from holdfast.repository.keys import Keys
    from holdfast.repository.pack import PackHeader
    from holdfast.storage.base import Buffer, Storage

READING_AT_ONCE = min(4, os.cpu_count() or 1)
"""Packs in memory at the same time: 32 MiB each, rarely 64."""


@dataclass(frozen=True)
class PackJob:
    """One pack to read, and the index rows that lie in it; ``opens`` whether its content is opened."""

    number: int
    pack: IndexedPack
    rows: np.ndarray
    opens: bool


@dataclass(frozen=True)
class PackFinding:
    """What is wrong with one pack, and the index rows that it hits."""

    reason: str
    rows: np.ndarray


@dataclass
class ReadCounts:
    """What was read."""

    packs: int = 0
    size_bytes: int = 0
    opened_packs: int = 0
    chunks: int = 0


class PackChecker:
    """Reads packs in threads and marks the chunks that do not come back."""

    def __init__(
        self, storage: Storage, keys: Keys, verdicts: ChunkVerdicts, findings: Findings, reporter: Reporter
    ) -> None:
        self._storage, self._verdicts, self._findings, self._reporter = storage, verdicts, findings, reporter
        self._opening = PackOpening(keys, verdicts.index)
        self._lock = threading.Lock()
        self.counts = ReadCounts()

    def check(self, jobs: list[PackJob]) -> None:
        """Read the packs of all jobs; what is wrong goes to the findings."""
        self._reporter.phase("reading packs", total_bytes=sum(job.pack.length for job in jobs))
        with ThreadPoolExecutor(READING_AT_ONCE, thread_name_prefix="check") as pool:
            for job, found in zip(jobs, pool.map(self._examine, jobs), strict=True):
                for finding in found:
                    self._note(job.pack, finding)

    def _note(self, pack: IndexedPack, finding: PackFinding) -> None:
        number = self._findings.add_to_pack(DamageKind.PACK_ALTERED, pack.ref.name, finding.reason)
        self._verdicts.mark(finding.rows, number)

    def _examine(self, job: PackJob) -> list[PackFinding]:
        try:
            stored = memoryview(self._storage.get(job.pack.ref.name))
        except NotFoundError:
            return [PackFinding("it was listed, and is gone", job.rows)]
        found = self._opening.examine(job, stored) if job.opens else []
        if not found and (len(stored) != job.pack.length or blake3(stored).digest() != job.pack.digest):
            # opened and every chunk came back: what differs is in no chunk; not opened: any chunk may be hit
            hit = job.rows[:0] if job.opens else job.rows
            found = [PackFinding("its bytes are not those that were stored (BLAKE3 differs from the index)", hit)]
        self._count(job, len(stored))
        return found

    def _count(self, job: PackJob, length: int) -> None:
        self._reporter.advance(length)
        with self._lock:
            self.counts.packs += 1
            self.counts.size_bytes += length
            self.counts.opened_packs += job.opens
            self.counts.chunks += len(job.rows) if job.opens else 0


class PackOpening:
    """Opens everything in a pack: header, trailer, every frame, every chunk id."""

    def __init__(self, keys: Keys, index: ChunkIndex) -> None:
        self._keys, self._index, self._opener = keys, index, FrameOpener(keys)

    def examine(self, job: PackJob, stored: memoryview) -> list[PackFinding]:
        """Return all that is wrong."""
        try:
            header = parse_header(job.pack.ref, stored)
            cipher = open_frame_cipher(self._keys, job.pack.ref, header)
        except DamageError as error:
            return [PackFinding(error.reason, job.rows)]
        found = []
        ids = self._index.ids_at(job.rows)
        for at, row in enumerate(job.rows.tolist()):
            frame = self._index.place(row).frame
            sealed = stored[frame.offset : frame.offset + frame.stored]
            try:
                self._opener.open(cipher, frame, ids[at].tobytes(), sealed)
            except DamageError as error:
                found.append(PackFinding(error.reason, job.rows[at : at + 1]))
        return found or self._examine_trailer(job, header, stored)

    def _examine_trailer(self, job: PackJob, header: PackHeader, stored: Buffer) -> list[PackFinding]:
        nothing = job.rows[:0]
        try:
            trailer = open_trailer(self._keys, job.pack.ref, header, stored)
        except DamageError as error:
            return [PackFinding(error.reason, nothing)]
        if trailer.table.tobytes() != self._indexed_table(job.rows).tobytes():
            return [PackFinding("its table is not what the index says of it", nothing)]
        if trailer.digest != blake3(memoryview(stored)[: trailer.start]).digest():
            return [PackFinding("its bytes are not those that its trailer vouches for", nothing)]
        return []

    def _indexed_table(self, rows: np.ndarray) -> np.ndarray:
        table = np.zeros(len(rows), dtype=TABLE_DTYPE)
        table["chunk"] = np.ascontiguousarray(self._index.ids_at(rows)).view("V32").reshape(-1)
        table["offset"], table["stored"] = self._index.offset[rows], self._index.stored[rows]
        table["plain"] = self._index.plain[rows]
        return table
