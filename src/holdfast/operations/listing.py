"""Look into a snapshot: list what a directory held."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.snapshots import find_snapshot
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.names import ROOT, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.config.models import Stack
    from holdfast.repository.browse import SnapshotTree
    from holdfast.repository.manifest import Entry
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot

_NEEDS = ("holdfast.repository.browse", "holdfast.repository.salvage")


@dataclass(frozen=True)
class SnapshotChoice:
    """Which snapshot a user means: ``snapshot`` and ``service`` are what SnapshotFinder takes."""

    snapshot: str
    service: str
    repository: str | None


@dataclass(frozen=True)
class OpenSnapshot:
    """One snapshot, ready to be looked into."""

    snapshot: Snapshot
    reader: ChunkReader
    tree: SnapshotTree

    def require_entry(self, path: bytes) -> Entry:
        """Return the entry of a path, or raise UsageError."""
        entry = self.tree.entry(path)
        if entry is None:
            command = f"holdfast ls {self.snapshot.short_id} {self._nearest(path)}".rstrip()
            raise UsageError(
                f"snapshot {self.snapshot.short_id} holds no {shown(path)}", hint=f"'{command}' shows what is there"
            )
        return entry

    def _nearest(self, path: bytes) -> str:
        """Return the nearest directory above that there is, as a command line names it."""
        above = path.rpartition(b"/")[0]
        while above and self.tree.entry(above) is None:
            above = above.rpartition(b"/")[0]
        return shown(above)


def open_snapshot(stack: Stack, choice: SnapshotChoice) -> OpenSnapshot:
    """Return the snapshot that is meant. Raises UsageError with near ids, or with all that fit."""
    repository = open_stack_repository(stack, choice.repository, needs=_NEEDS)
    from holdfast.repository.browse import SnapshotTree

    snapshot = find_snapshot(repository, stack, choice.snapshot, choice.service)
    reader = repository.reader()
    return OpenSnapshot(snapshot, reader, SnapshotTree(reader, snapshot))


def list_directory(opened: OpenSnapshot, path: bytes) -> Iterator[Entry]:
    """Yield what lies directly in a directory; a path of any other kind is yielded itself."""
    return _list(opened, path, opened.tree.children)


def list_tree(opened: OpenSnapshot, path: bytes) -> Iterator[Entry]:
    """Yield all that lies below a directory; a path of any other kind is yielded itself."""
    return _list(opened, path, opened.tree.below)


def _list(opened: OpenSnapshot, path: bytes, inside: Callable[[bytes], Iterator[Entry]]) -> Iterator[Entry]:
    from holdfast.repository.manifest import EntryKind

    entry = None if path == ROOT else opened.require_entry(path)
    if entry is None or entry.kind is EntryKind.DIRECTORY:
        return inside(path)
    below = inside(path)  # a symbolic link that was followed, such as that of a tablespace, has something below it
    first = next(below, None)
    return iter([entry]) if first is None else chain([first], below)
