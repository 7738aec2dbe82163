"""Give one file of a snapshot back, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.repository.browse import read_content
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.operations.listing import OpenSnapshot


def file_entry(opened: OpenSnapshot, path: bytes) -> Entry:
    """Return the entry that holds the content of a path: the file itself, or what a hard link leads to.

    Raises UsageError for what has no content of its own.
    """
    entry = opened.require_entry(path)
    if entry.kind is EntryKind.HARD_LINK:
        entry = opened.require_entry(entry.link)
    if entry.kind is not EntryKind.FILE:
        what = entry.kind.name.lower().replace("_", " ")
        raise UsageError(
            f"{shown(path)} is a {what}, not a file",
            hint=f"points to {shown(entry.link)}" if entry.link else "'holdfast ls' shows what is in a directory",
        )
    return entry


def dump(opened: OpenSnapshot, entry: Entry) -> Iterator[bytes]:
    """Yield a file's bytes from first to last, holes as zeros. DamageError, KeyRefusedError as they come up."""
    return read_content(opened.reader, entry)
