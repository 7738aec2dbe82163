"""What contradicts itself in an entry, whatever its chunks hold: a reader would refuse it, or take one part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.repository.file_extents import TWICE
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FILE, _SYMLINK, _HARD_LINK = EntryKind.FILE, EntryKind.SYMLINK, EntryKind.HARD_LINK


def contradictions(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Yield each entry that cannot be, with what is wrong with it."""
    for entry in entries:
        kind = entry.kind
        if kind is not _FILE and (entry.size or entry.extents or entry.extent_chunks):
            yield entry, "it is no file, and has content"
        elif entry.extents and entry.extent_chunks:
            yield entry, TWICE
        if (kind is _SYMLINK or kind is _HARD_LINK) is not bool(entry.link) or b"\0" in entry.link:
            yield entry, "it is a link to nothing that can be, or no link and has a target"
        if entry.xattrs and any(b"\0" in name for name in entry.xattrs):
            yield entry, "it has an extended attribute whose name cannot be"
        if not is_plain(entry.path):
            yield entry, "its path leads out of the tree"
