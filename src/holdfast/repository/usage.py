"""What snapshots cost: which chunks each service refers to, counted once, on one walk over all lists of files.

A chunk that two services refer to counts for both, and once in the total.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.repository.extent_list import listed_chunks
from holdfast.repository.file_extents import inline_extents
from holdfast.repository.manifest import load_entries, load_leaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Usage:
    """What some snapshots hold and cost. Bytes: logical (each snapshot in full), unique (each chunk once), stored."""

    snapshots: int
    logical_bytes: int
    chunks: int
    unique_bytes: int
    stored_bytes: int

    @property
    def dedup_ratio(self) -> float:
        """How often each unique byte is used."""
        return _ratio(self.logical_bytes, self.unique_bytes)

    @property
    def compression_ratio(self) -> float:
        """How much smaller unique bytes are stored."""
        return _ratio(self.unique_bytes, self.stored_bytes)

    @property
    def total_ratio(self) -> float:
        """Both together."""
        return _ratio(self.logical_bytes, self.stored_bytes)


def measure_usage(reader: ChunkReader, groups: Mapping[str, Sequence[Snapshot]]) -> tuple[dict[str, Usage], Usage]:
    """Return the usage of each group of snapshots, and of all together."""
    union = np.zeros(len(reader.index), dtype=bool)
    usages = {}
    for name, snapshots in groups.items():
        used = _rows_used(reader, snapshots)
        usages[name] = _usage(reader, snapshots, used)
        union |= used
    return usages, _usage(reader, [snapshot for group in groups.values() for snapshot in group], union)


def _usage(reader: ChunkReader, snapshots: Sequence[Snapshot], used: np.ndarray) -> Usage:
    index = reader.index
    return Usage(
        snapshots=len(snapshots),
        logical_bytes=sum(snapshot.stats.size_bytes for snapshot in snapshots),
        chunks=int(used.sum()),
        unique_bytes=int(index.plain[used].sum(dtype=np.int64)),
        stored_bytes=int(index.stored[used].sum(dtype=np.int64)),
    )


def _rows_used(reader: ChunkReader, snapshots: Sequence[Snapshot]) -> np.ndarray:
    """Return which rows of the index snapshots refer to: roots, leaves, lists of extents, data."""
    used = np.zeros(len(reader.index), dtype=bool)
    roots = sorted({snapshot.manifest for snapshot in snapshots})
    leaves = {leaf.chunk for root in reader.read_many(roots) for leaf in load_leaves(root)}
    lists: set[bytes] = set()
    for content in reader.read_many(sorted(leaves)):
        entries = load_entries(content)
        lists.update(chunk for entry in entries for chunk in entry.extent_chunks)
        used[reader.rows(inline_extents(entries)[1]["chunk"])] = True
    for content in reader.read_many(sorted(lists)):
        used[reader.rows(listed_chunks(content, "manifest"))] = True
    for ids in (roots, leaves, lists):
        used[reader.rows(list(ids))] = True
    return used


def _ratio(more: int, less: int) -> float:
    return round(more / less, 3) if less else 1.0
