"""Resuming: what an interrupted restore wrote is hashed again, and only what is missing or wrong is fetched."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.pack import PackKind

if TYPE_CHECKING:
    from holdfast.progress import Reporter
    from holdfast.repository.keys import Keys
    from holdfast.repository.reader import ChunkReader
    from holdfast.restore.plan import PlannedFile, RestorePlan


def missing_wants(plan: RestorePlan, reader: ChunkReader, keys: Keys, reporter: Reporter, threads: int) -> np.ndarray:
    """Return the part of the plan's wants that is not on disk yet, or not as it should be.

    Only whole chunks can be proven on disk; a piece of a shared chunk (small files) is fetched again.
    """
    plain = reader.index.plain[plan.wants["row"]]
    is_whole = (plan.wants["chunk_offset"] == 0) & (plan.wants["length"] == plain)
    whole = plan.wants[is_whole]
    by_file = np.split(np.argsort(whole["file"], kind="stable"), np.flatnonzero(np.diff(np.sort(whole["file"]))) + 1)
    is_present = np.zeros(len(whole), dtype=bool)
    lock = threading.Lock()

    def verify(positions: np.ndarray) -> None:
        present = _present(plan.files[int(whole["file"][positions[0]])], whole[positions], reader, keys)
        with lock:
            is_present[positions] = present
        reporter.advance(int(whole["length"][positions].sum()))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(verify, [positions for positions in by_file if len(positions)]))
    keep = np.ones(len(plan.wants), dtype=bool)
    keep[np.flatnonzero(is_whole)[is_present]] = False
    return plan.wants[keep]


def _present(file: PlannedFile, wants: np.ndarray, reader: ChunkReader, keys: Keys) -> list[bool]:
    expected = reader.index.ids_at(wants["row"])
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return [False] * len(wants)
    try:
        return [
            keys.chunk_id(PackKind.DATA, os.pread(descriptor, length, offset)) == words.tobytes()
            for (_, _, offset, length, _), words in zip(wants.tolist(), expected, strict=True)
        ]
    finally:
        os.close(descriptor)
