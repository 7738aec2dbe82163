"""Find a name in all snapshots: which versions of it there are, and which snapshots hold each."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.operations.snapshots import find_snapshot
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.manifest import Entry, EntryKind, load_entries, load_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.config.models import Stack
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot


@dataclass(frozen=True)
class FindRequest:
    """What to look for, and where; empty fields do not restrict.

    ``pattern`` is a glob: with a "/" in it it must match the whole path, else the last part of it.
    """

    pattern: str
    service: str
    snapshot: str
    repository: str | None


@dataclass(frozen=True)
class FoundVersion:
    """One version of a path: all snapshots in which it had this kind, size and time, oldest first."""

    path: bytes
    kind: EntryKind
    size_bytes: int
    mtime_ns: int
    snapshots: list[Snapshot] = field(default_factory=list)


def find(stack: Stack, request: FindRequest) -> list[FoundVersion]:
    """Return every version of the paths that match, by path, then by first appearance."""
    repository = open_stack_repository(stack, request.repository)
    snapshots = _snapshots(repository, stack, request)
    search = _Search(repository.reader(), matcher(request.pattern))
    versions: dict[tuple[bytes, EntryKind, int, int], FoundVersion] = {}
    for snapshot in snapshots:
        for entry in search.matches(snapshot):
            key = (entry.path, entry.kind, entry.size, entry.mtime_ns)
            versions.setdefault(key, FoundVersion(*key)).snapshots.append(snapshot)
    return sorted(versions.values(), key=lambda version: version.path)


class _Search:
    """Reads each leaf once, however many snapshots share it."""

    def __init__(self, reader: ChunkReader, is_match: Callable[[bytes], bool]) -> None:
        self._reader, self._is_match = reader, is_match
        self._matches_by_leaf: dict[bytes, list[Entry]] = {}

    def matches(self, snapshot: Snapshot) -> Iterator[Entry]:
        leaves = [leaf.chunk for leaf in load_leaves(self._reader.read(snapshot.manifest))]
        unread = [chunk for chunk in leaves if chunk not in self._matches_by_leaf]
        for chunk, content in zip(unread, self._reader.read_many(unread), strict=True):
            self._matches_by_leaf[chunk] = [each for each in load_entries(content) if self._is_match(each.path)]
        for chunk in leaves:
            yield from self._matches_by_leaf[chunk]


def _snapshots(repository: Repository, stack: Stack, request: FindRequest) -> list[Snapshot]:
    if request.snapshot:
        return [find_snapshot(repository, stack, request.snapshot, request.service)]
    return [each for each in repository.snapshots() if request.service in {"", each.service}]


def matcher(pattern: str) -> Callable[[bytes], bool]:
    """Return what tells whether a path matches a glob; Latin-1 carries every byte through fnmatch unchanged."""
    glob = os.fsencode(pattern).decode("latin-1")
    matches = re.compile(fnmatch.translate(glob).encode("latin-1")).match
    if "/" in glob:
        return lambda path: matches(path) is not None
    return lambda path: matches(path.rpartition(b"/")[2]) is not None
