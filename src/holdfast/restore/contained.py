"""A snapshot may come from a host that is no longer ours: what it names must stay inside the directories being filled.

Whoever holds a writer credential can store a list of files as it likes. So before anything is written, every path is
proven to lie below a root of the restore, to have no symbolic link of the snapshot on its way, and to be there once.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import DamageError
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import is_plain, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HINT = "do not restore this snapshot; look at the host that made it, and use an earlier one"


def require_contained(placed: Sequence[tuple[Entry, Path]], roots: Iterable[Path]) -> None:
    """Raise DamageError for an entry (with its destination) that would be written outside of the roots."""
    roots = tuple(roots)
    root_names = {os.fspath(root) for root in roots}
    links = {path for entry, path in placed if entry.kind is EntryKind.SYMLINK}
    files = {entry.path for entry, _ in placed if entry.kind is EntryKind.FILE}
    seen: set[str] = set()

    @cache  # of a million files there are few directories
    def is_inside(directory: str) -> bool:
        return any(Path(directory).is_relative_to(root) for root in roots)

    @cache
    def is_behind_link(directory: str) -> bool:
        return Path(directory) in links or not links.isdisjoint(Path(directory).parents)

    for entry, place in placed:
        path = os.fspath(place)
        directory = os.path.dirname(path)
        if not is_plain(entry.path) or not (path in root_names or is_inside(directory)):
            raise _refusal(entry, "leads out of the directory")
        if links and is_behind_link(directory):
            raise _refusal(entry, "leads through a symbolic link")
        if entry.kind is EntryKind.HARD_LINK and entry.link not in files:
            raise _refusal(entry, "is a hard link to something that is no file of the snapshot")
        if b"\0" in entry.link or any(b"\0" in name for name in entry.xattrs):
            raise _refusal(entry, "has a link or an attribute whose name cannot be")
        if path in seen:
            raise _refusal(entry, "is there twice")
        seen.add(path)


def _refusal(entry: Entry, reason: str) -> DamageError:
    return DamageError(f"entry {shown(entry.path)}", reason, hint=_HINT)
