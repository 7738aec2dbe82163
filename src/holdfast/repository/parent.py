"""The parent of a backup: what looks unchanged since then is taken from it by reference, without being read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast.repository.extent_list import listed_chunks
from holdfast.repository.file_extents import inline_extents, load_stored
from holdfast.repository.index import chunk_words
from holdfast.repository.manifest import Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from holdfast.repository.file_extents import StoredExtents
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot

_GRAIN_NS = 2_000_000_000
"""The coarsest clock of a file system in use (FAT, 2 s): a younger mtime may hide a change within the same tick."""


_GROUP_BYTES = 4 << 30
"""Of files: their lists of extents are up to 32 MiB, some 50 bytes for a page of 8 KiB at most."""


class Parent:
    """An earlier snapshot of the same service, and those of its files whose content is still there."""

    def __init__(
        self, snapshot: Snapshot | None, files: dict[bytes, Entry], read: Callable[[bytes], bytes] = bytes
    ) -> None:
        """``read`` returns the plaintext of a metadata chunk."""
        self.snapshot = snapshot
        self._files, self._read = files, read
        self._trusted_before_ns = _taken(snapshot) - _GRAIN_NS if snapshot else 0

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
        present = msgspec.structs.replace(entry, extents=known.extents, extent_chunks=known.extent_chunks)
        return known if known == present else present  # one object for both lists: of many files, they are what is big

    def entry(self, path: bytes) -> Entry | None:
        """Return a file as the parent has it, None where it has none whose content is still there."""
        return self._files.get(path)

    def stored(self, entry: Entry) -> StoredExtents:
        """Return where one of the parent's files is stored; DamageError where its lists cannot be read."""
        return load_stored(entry, self._read)


NO_PARENT = Parent(None, {})
"""The parent of a first backup, or of one that reads everything again."""


def load_parent(snapshot: Snapshot, entries: Iterable[Entry], reader: ChunkReader) -> Parent:
    """Return a snapshot as a parent; files of which the index has lost a chunk are left out, and so read again."""
    files = {entry.path: entry for entry in entries if entry.kind is EntryKind.FILE}
    for path in _paths_with_lost_chunks(files.values(), reader):
        del files[path]
    return Parent(snapshot, files, reader.read)


def _identity(entry: Entry) -> tuple[int, int, int, int]:
    return entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode


def _taken(snapshot: Snapshot) -> int:
    """Return the earlier of the times (ns) at both ends of a snapshot: the clock may have been set back meanwhile."""
    instants = (datetime.fromisoformat(instant) for instant in (snapshot.started, snapshot.ended))
    return min(int(instant.timestamp() * 1_000_000) for instant in instants) * 1000


def _paths_with_lost_chunks(files: Iterable[Entry], reader: ChunkReader) -> set[bytes]:
    """Return the paths of which a chunk, or a list of extents, is in no pack any more."""
    lost: set[bytes] = set()
    for group in _groups(files):
        lost |= _lost_of_group(group, reader)
    return lost


def _groups(files: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield files in groups whose extents fit into memory, however fragmented they are."""
    group: list[Entry] = []
    size = 0
    for entry in files:
        group.append(entry)
        size += entry.size
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _lost_of_group(group: list[Entry], reader: ChunkReader) -> set[bytes]:
    lists = _sound_lists({chunk for entry in group for chunk in entry.extent_chunks}, reader)
    lost = {entry.path for entry in group if not lists.keys() >= set(entry.extent_chunks)}
    owner, inline = inline_extents(group)
    named = [(number, lists[chunk]) for number, e in enumerate(group) for chunk in e.extent_chunks if chunk in lists]
    owners = np.concatenate([owner, *(np.full(len(chunks), number) for number, chunks in named)])
    rows = reader.index.lookup(chunk_words(np.concatenate([inline["chunk"], *(chunks for _, chunks in named)])))
    return lost | {group[owner].path for owner in owners[rows < 0].tolist()}  # np.unique would load numpy.ma


def _sound_lists(chunks: set[bytes], reader: ChunkReader) -> dict[bytes, np.ndarray]:
    """Return the chunks (V32) that lists of extents name, by the list's own id; DamageError where one does not open."""
    wanted = sorted(chunks)
    if not wanted:
        return {}
    is_there = reader.index.lookup(chunk_words(wanted)) >= 0
    found = [chunk for chunk, there in zip(wanted, is_there, strict=True) if there]
    lists = zip(found, reader.read_many(found), strict=True)
    return {chunk: listed_chunks(content, "manifest") for chunk, content in lists}
