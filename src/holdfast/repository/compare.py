"""The difference between two snapshots, found without reading what they share: equal leaves are passed over unread.

Content decides. Two files whose chunks differ differ, but for small files: these lie together in shared chunks, and
what was read again may lie in another one, so that their bytes are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from holdfast.errors import DamageError
from holdfast.repository.browse import SnapshotTree
from holdfast.repository.extents import differing_bytes
from holdfast.repository.file_extents import load_extents
from holdfast.repository.manifest import Entry, EntryKind, load_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from holdfast.repository.manifest import Leaf
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot

_CHUNKS_KEPT = 16


class Change(StrEnum):
    """What became of a path from the first snapshot to the second."""

    ADDED = "added"
    REMOVED = "removed"
    CONTENT = "content"
    """Another content, another link target, or another kind of file."""
    ATTRIBUTES = "attributes"
    """The same content, with another mode, owner or extended attribute. A time alone is no difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs, with the entry of each side where there is one.

    ``changed_bytes``: of a file with other content, the most of it that can have changed; else None.
    """

    change: Change
    before: Entry | None
    after: Entry | None
    changed_bytes: int | None = None

    @property
    def path(self) -> bytes:
        """The path."""
        entry = self.after or self.before
        assert entry is not None
        return entry.path


def compare_snapshots(reader: ChunkReader, before: Snapshot, after: Snapshot) -> Iterator[Difference]:
    """Yield what differs, by path. Needs an owner's key only where bytes of small files are compared."""
    old, new = SnapshotTree(reader, before).leaves, SnapshotTree(reader, after).leaves
    shared = {leaf.chunk for leaf in old} & {leaf.chunk for leaf in new}
    contents = _Contents(reader)
    for one, other in _merge(_entries(reader, old, shared), _entries(reader, new, shared)):
        change = _change(contents, one, other)
        if change is not None:
            changed_bytes = contents.changed_bytes(one, other) if change is Change.CONTENT else None
            yield Difference(change, one, other, changed_bytes)


def _entries(reader: ChunkReader, leaves: Sequence[Leaf], without: set[bytes]) -> Iterator[Entry]:
    for content in reader.read_many([leaf.chunk for leaf in leaves if leaf.chunk not in without]):
        yield from load_entries(content)


def _merge(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Pair two sequences that are sorted by path."""
    one, other = next(old, None), next(new, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.path < other.path):
            yield one, None
            one = next(old, None)
        elif one is None or other.path < one.path:
            yield None, other
            other = next(new, None)
        else:
            yield one, other
            one, other = next(old, None), next(new, None)


def _change(contents: _Contents, one: Entry | None, other: Entry | None) -> Change | None:
    if one is None:
        return Change.ADDED
    if other is None:
        return Change.REMOVED
    if (one.kind, one.size, one.link) != (other.kind, other.size, other.link):
        return Change.CONTENT
    if one.kind is EntryKind.FILE and not contents.are_equal(one, other):
        return Change.CONTENT
    return None if _attributes(one) == _attributes(other) else Change.ATTRIBUTES


def _attributes(entry: Entry) -> tuple[object, ...]:
    return entry.mode, entry.uid, entry.gid, entry.user, entry.group, entry.xattrs


class _Contents:
    """Compares the content of files of equal size; keeps the last chunks that it read, for the neighbours in them."""

    def __init__(self, reader: ChunkReader) -> None:
        self._read = lru_cache(_CHUNKS_KEPT)(reader.read)

    def are_equal(self, one: Entry, other: Entry) -> bool:
        if (one.extents, one.extent_chunks) == (other.extents, other.extent_chunks):
            return True
        left, right = load_extents(one, self._read), load_extents(other, self._read)
        if len(left) == len(right) == 1:
            return self._bytes(one, left) == self._bytes(other, right)
        return left.tobytes() == right.tobytes()  # the same may be listed in two ways

    def changed_bytes(self, one: Entry | None, other: Entry | None) -> int | None:
        """Return how many bytes of a file may have changed, None where there are not two files to compare."""
        if one is None or other is None or {one.kind, other.kind} != {EntryKind.FILE}:
            return None
        return differing_bytes(load_extents(one, self._read), load_extents(other, self._read))

    def _bytes(self, entry: Entry, extents: np.ndarray) -> tuple[int, bytes]:
        offset, length, start, chunk = extents[0].item()
        part = self._read(chunk)[start : start + length]
        if len(part) != length:
            raise DamageError(f"file {entry.path!r}", "an extent passes the end of its chunk")
        return offset, part
