"""The parent of a backup: what looks unchanged since then is taken from it by reference, without being read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast.repository.index import chunk_words
from holdfast.repository.manifest import EXTENT_DTYPE, Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from holdfast.repository.index import ChunkIndex
    from holdfast.repository.snapshot import Snapshot

_GRAIN_NS = 2_000_000_000
"""The coarsest clock of a file system in use (FAT, 2 s): a younger mtime may hide a change within the same tick."""


class Parent:
    """An earlier snapshot of the same service, and those of its files whose content is still there."""

    def __init__(self, snapshot: Snapshot | None, files: dict[bytes, Entry]) -> None:
        self.snapshot = snapshot
        self._files = files
        self._trusted_before_ns = _nanoseconds(snapshot.started) - _GRAIN_NS if snapshot else 0

    @property
    def facts(self) -> dict[str, Any]:
        """The parent's facts, empty without one."""
        return self.snapshot.facts if self.snapshot else {}

    def reuse(self, entry: Entry) -> Entry | None:
        """Return ``entry`` with the parent's content, or None when it must be read.

        Size, mtime, ctime and inode must be the same, and the mtime older than the parent's start by more than the
        clock's grain: what was written while the parent was taken is never trusted.
        """
        known = self._files.get(entry.path)
        if known is None or _identity(known) != _identity(entry):
            return None
        if entry.mtime_ns >= self._trusted_before_ns or entry.ctime_ns >= self._trusted_before_ns:
            return None
        return msgspec.structs.replace(entry, extents=known.extents, extent_chunks=known.extent_chunks)


NO_PARENT = Parent(None, {})
"""The parent of a first backup, or of one that reads everything again."""


def load_parent(snapshot: Snapshot, entries: Iterable[Entry], index: ChunkIndex) -> Parent:
    """Return a snapshot as a parent; files of which the index has lost a chunk are left out, and so read again."""
    files = {entry.path: entry for entry in entries if entry.kind is EntryKind.FILE}
    for path in _paths_with_lost_chunks(files.values(), index):
        del files[path]
    return Parent(snapshot, files)


def _identity(entry: Entry) -> tuple[int, int, int, int]:
    return entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode


def _nanoseconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp() * 1_000_000) * 1000


def _paths_with_lost_chunks(files: Iterable[Entry], index: ChunkIndex) -> set[bytes]:
    """Return the paths whose chunks (or lists of extents) no index names any more: they are read again."""
    owners: list[bytes] = []
    chunks: list[bytes] = []
    for entry in files:
        inline = np.frombuffer(entry.extents, dtype=EXTENT_DTYPE)["chunk"]
        named = [*(bytes(chunk) for chunk in inline), *entry.extent_chunks]
        owners.extend([entry.path] * len(named))
        chunks.extend(named)
    if not chunks:
        return set()
    rows = index.lookup(chunk_words(chunks))
    return {owners[at] for at in np.flatnonzero(rows < 0)}
