"""What a backup knows of the pages of large files, and what it learns of them for the next one.

A page is known when the parent snapshot has its file, and the cache has the page's hash as of that very snapshot.
Whatever is missing, stale or damaged makes pages unknown: then they are stored by chunk id, which costs time and never
a page. What is learned is kept only when the snapshot is committed.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.errors import DamageError
from holdfast.repository.file_extents import NOTHING_STORED
from holdfast.repository.file_pages import HashedPages, HintedPages, ReviewedPages, UnknownPages
from holdfast.repository.page_cache import PageCache, PageCacheWriter
from holdfast.repository.page_hash import NO_HASHES, PageHasher

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from holdfast.repository.file_extents import StoredExtents
    from holdfast.repository.file_pages import FilePages
    from holdfast.repository.manifest import Entry
    from holdfast.repository.page_hint import PageHint
    from holdfast.repository.parent import Parent


class PageMemory(Protocol):
    """What is known of the pages of all files."""

    def begin(self, entry: Entry) -> FilePages:
        """Return what is known of a file that is about to be read."""
        ...

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Learn the pages of a file whose content is stored, as this entry."""
        ...


class NoMemory:
    """The PageMemory that knows nothing."""

    def begin(self, entry: Entry) -> FilePages:  # noqa: ARG002 - the interface
        """Return that nothing is known."""
        return UnknownPages()

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Learn nothing."""


class CachedMemory:
    """What the cache of the parent snapshot knows; a new cache is written meanwhile (a PageMemory).

    ``changed`` counts the pages that differ from the parent's, by path of the files read. ``missed`` are the numbers of
    those that hints should have named, by path, where hints are reviewed. ``reads_all``: no file may be taken from the
    parent unread, however it looks.
    """

    def __init__(self, path: Path, parent: Parent, page_bytes: int) -> None:
        """Open the cache at ``path`` if it is that of ``parent``."""
        self._parent = parent
        self._cache = PageCache.open(path, parent.snapshot.id, page_bytes) if parent.snapshot else None
        seed = self._cache.seed if self._cache else secrets.randbits(64)
        self._hasher = PageHasher(page_bytes, seed)
        self._next = PageCacheWriter(path, page_bytes, seed)
        self._reused: list[Entry] = []
        self._hint: PageHint | None = None
        self._hinted_since_s = self._cache.hinted_since_s if self._cache else 0.0
        self.changed: dict[bytes, int] = {}
        self.missed: dict[bytes, NDArray[np.int64]] = {}
        self.reads_all = False

    @property
    def compares(self) -> bool:
        """Whether there is a parent and a cache to compare with: else all pages count as changed."""
        return self._cache is not None

    @property
    def hinted_since(self) -> datetime | None:
        """When pages were first left unread on a hint's word since all were read; None when none were."""
        return datetime.fromtimestamp(self._hinted_since_s, UTC) if self._hinted_since_s else None

    def follow(self, hint: PageHint) -> None:
        """Leave pages unread that a hint does not name."""
        self._hint = hint
        self._hinted_since_s = self._hinted_since_s or clock.now().timestamp()

    def review(self, hint: PageHint) -> None:
        """Read all pages, and note what this hint, and those before it, did not name."""
        self._hint = hint
        self.renew()

    def renew(self) -> None:
        """Read all pages."""
        self.reads_all, self._hinted_since_s = True, 0.0

    def begin(self, entry: Entry) -> FilePages:
        """Return what is known of a file: only where parent and cache agree on it."""
        then = self._parent.entry(entry.path)
        known = self._cache.hashes(then) if self._cache and then else None
        stored = self._stored(then) if then and known is not None else None
        if then is None or known is None or stored is None:
            return HashedPages(self._hasher, entry.size, NO_HASHES, NOTHING_STORED)
        named = self._named(then, entry)
        if self._hint is None or named is None:
            return HashedPages(self._hasher, entry.size, known, stored)
        if self.reads_all:
            return ReviewedPages(self._hasher, entry.size, known, stored, named=named, hint=self._hint)
        return HintedPages(self._hasher, entry.size, known, stored, named=named)

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Write a file's hashes into the new cache."""
        self._next.add(entry, pages.hashes[: -(-entry.size // pages.page_bytes)])
        self.changed[entry.path] = pages.changed
        if len(pages.missed):
            self.missed[entry.path] = pages.missed

    def reuse(self, entry: Entry) -> None:
        """Go on knowing a file that was taken from the parent unread."""
        self._reused.append(entry)

    def commit(self, snapshot_id: str) -> OSError | None:
        """Put the new cache in place: the snapshot exists. Returns why it could not be written, which is no error."""
        if self._cache is not None:
            self._next.copy(self._cache, self._reused)
        return self._next.commit(snapshot_id, self._hinted_since_s)

    def _named(self, then: Entry, entry: Entry) -> NDArray[np.bool_] | None:
        """Return what the hint says of the whole pages that the parent has; None where it is another file now."""
        if self._hint is None or then.inode != entry.inode:
            return None
        return self._hint.named(entry, then.size // self._hasher.page_bytes)

    def _stored(self, entry: Entry) -> StoredExtents | None:
        try:
            return self._parent.stored(entry)
        except DamageError:
            return None
