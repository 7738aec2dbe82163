"""Looking into a snapshot: only those parts of its list of files are read that can hold what is asked for.

Leaves are sorted by path and named by their first path, so a binary search finds the few that matter in a list of
millions. Content is read by extents, in order; what no extent covers reads as zeros.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from holdfast.errors import DamageError
from holdfast.repository.file_extents import load_extents
from holdfast.repository.manifest import load_entries, load_leaves
from holdfast.repository.names import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.manifest import Entry, Leaf
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot

_CHUNKS_AT_ONCE = 16
_ZEROS = bytes(1 << 20)


class SnapshotTree:
    """The list of files of one snapshot. Paths are bytes, relative to the root, with "/" between their parts."""

    def __init__(self, reader: ChunkReader, snapshot: Snapshot) -> None:
        self._reader = reader
        self.leaves: Sequence[Leaf] = load_leaves(reader.read(snapshot.manifest))
        self._firsts = [leaf.first_path for leaf in self.leaves]

    def entries(self) -> Iterator[Entry]:
        """Yield every entry by path."""
        return self._read(self.leaves)

    def entry(self, path: bytes) -> Entry | None:
        """Return the entry of one path, or None."""
        return next(
            (entry for entry in self._read(self._leaves_between(path, path + b"\0")) if entry.path == path), None
        )

    def below(self, directory: bytes) -> Iterator[Entry]:
        """Yield all that lies below a directory, at any depth, by path; for ROOT all but the root itself."""
        prefix = _prefix(directory)
        for entry in self._read(self._leaves_below(prefix)):
            if entry.path.startswith(prefix) and entry.path != ROOT:
                yield entry

    def children(self, directory: bytes) -> Iterator[Entry]:
        """Yield what lies directly in a directory, by path; leaves that lie whole within one child are not read."""
        prefix = _prefix(directory)
        leaves = self._leaves_below(prefix)
        follows = [leaf.first_path for leaf in leaves[1:]]
        wanted = [
            leaf
            for leaf, following in zip(leaves, [*follows, b""], strict=True)
            if not _is_within_one_child(prefix, leaf.first_path, following)
        ]
        for entry in self._read(wanted):
            name = entry.path.removeprefix(prefix)
            if entry.path.startswith(prefix) and b"/" not in name and entry.path != ROOT:
                yield entry

    def _leaves_below(self, prefix: bytes) -> Sequence[Leaf]:
        return self._leaves_between(prefix, prefix[:-1] + b"0") if prefix else self.leaves  # "0" follows "/"

    def _leaves_between(self, first: bytes, end: bytes) -> Sequence[Leaf]:
        """Return the leaves that may hold paths from ``first`` up to ``end``, which is not included."""
        start = max(0, bisect_right(self._firsts, first) - 1)
        return self.leaves[start : bisect_left(self._firsts, end)]

    def _read(self, leaves: Sequence[Leaf]) -> Iterator[Entry]:
        for content in self._reader.read_many([leaf.chunk for leaf in leaves]):
            yield from load_entries(content)


def read_content(reader: ChunkReader, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a file from first to last, holes as zeros; DamageError where a chunk is not as it should be.

    Memory: some 16 chunks at a time.
    """
    extents = load_extents(entry, reader.read).tolist()
    at = 0
    for first in range(0, len(extents), _CHUNKS_AT_ONCE):
        group = extents[first : first + _CHUNKS_AT_ONCE]
        for (offset, length, start, _), chunk in zip(group, reader.read_many([each[3] for each in group]), strict=True):
            yield from _zeros(offset - at)
            yield _part(entry, chunk, start, length)
            at = offset + length
    yield from _zeros(entry.size - at)


def _part(entry: Entry, chunk: bytes, start: int, length: int) -> bytes:
    part = chunk[start : start + length]
    if len(part) != length:
        raise DamageError(f"file {entry.path!r}", "an extent passes the end of its chunk")
    return part


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)


def _prefix(directory: bytes) -> bytes:
    return b"" if directory == ROOT else directory + b"/"


def _is_within_one_child(prefix: bytes, first: bytes, following: bytes) -> bool:
    """Tell whether all paths from ``first`` up to ``following`` lie below the same child of a directory."""
    child, slash, _ = first.removeprefix(prefix).partition(b"/")
    return bool(slash) and first.startswith(prefix) and following.startswith(prefix + child + b"/")
