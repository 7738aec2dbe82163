"""What a backup knows of the pages of large files, and what it learns of them for the next one.

A page is known when the parent snapshot has its file, and the cache has the page's hash as of that very snapshot.
Whatever is missing, stale or damaged makes pages unknown: then they are stored by chunk id, which costs time and never
a page. What is learned is kept only when the snapshot is committed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

import numpy as np

from holdfast.errors import DamageError
from holdfast.repository.extents import NO_EXTENTS
from holdfast.repository.page_cache import PageCache, PageCacheWriter
from holdfast.repository.page_hash import NO_HASHES, UNKNOWN, PageHasher

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from holdfast.repository.manifest import Entry
    from holdfast.repository.page_hash import Hashes
    from holdfast.repository.parent import Parent

_PAGE_BYTES = 8192


class FilePages(Protocol):
    """The pages of one file during one backup; used by several threads, each on pages of its own."""

    @property
    def page_bytes(self) -> int:
        """The size of a page."""
        ...

    @property
    def hashes(self) -> Hashes:
        """The hash of each page as it is stored; empty where nobody will ask."""
        ...

    @property
    def changed(self) -> int:
        """How many pages of those read so far differ from the parent's."""
        ...

    @property
    def extents(self) -> np.ndarray:
        """Where the parent has the file's content (EXTENT_DTYPE); empty when nothing is known."""
        ...

    def differing(self, offset: int, block: memoryview) -> NDArray[np.bool_]:
        """Return which pages of a block, read at ``offset`` of the file, are not as the parent has them."""
        ...

    def doubt(self, offsets: np.ndarray) -> None:
        """Forget the pages at some offsets of the file: they are not sound, and must be looked at again next time."""
        ...


class PageMemory(Protocol):
    """What is known of the pages of all files."""

    def begin(self, entry: Entry) -> FilePages:
        """Return what is known of a file that is about to be read."""
        ...

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Learn the pages of a file whose content is stored, as this entry."""
        ...


class _UnknownPages:
    """A file of which nothing is known, and nothing will be."""

    page_bytes = _PAGE_BYTES
    hashes = NO_HASHES
    changed = 0
    extents = NO_EXTENTS

    def differing(self, offset: int, block: memoryview) -> NDArray[np.bool_]:  # noqa: ARG002 - the interface
        """Return that all pages differ."""
        return np.ones(-(-len(block) // self.page_bytes), dtype=bool)

    def doubt(self, offsets: np.ndarray) -> None:
        """Nothing was remembered."""


class NoMemory:
    """The PageMemory that knows nothing."""

    def begin(self, entry: Entry) -> FilePages:  # noqa: ARG002 - the interface
        """Return that nothing is known."""
        return _UnknownPages()

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Learn nothing."""


class _HashedPages:
    """A file whose pages are hashed as they are read (FilePages)."""

    def __init__(self, hasher: PageHasher, size: int, known: Hashes, extents: np.ndarray) -> None:
        self._hasher, self._known = hasher, known
        self.page_bytes, self.extents = hasher.page_bytes, extents
        self._changed: list[int] = []
        # What is never read is a hole, or lies behind the end: a snapshot has zeros there
        self.hashes = np.full(-(-size // self.page_bytes), hasher.zero, dtype=np.uint64)

    def differing(self, offset: int, block: memoryview) -> NDArray[np.bool_]:
        """Hash a block; return which pages are not as the parent has them."""
        first = offset // self.page_bytes
        hashes = self._hasher.hashes(block)
        self.hashes[first : first + len(hashes)] = hashes
        known = self._known[first : first + len(hashes)]
        differs = np.ones(len(hashes), dtype=bool)
        differs[: len(known)] = (hashes[: len(known)] != known) | (known == UNKNOWN)
        self._changed.append(int(np.count_nonzero(differs)))
        return differs

    @property
    def changed(self) -> int:
        """How many pages of those read so far differ."""
        return sum(self._changed)

    def doubt(self, offsets: np.ndarray) -> None:
        """Forget pages."""
        self.hashes[offsets // self.page_bytes] = UNKNOWN


class CachedMemory:
    """What the cache of the parent snapshot knows; a new cache is written meanwhile (a PageMemory).

    ``changed`` counts the pages that differ from the parent's, by path of the files read.
    """

    def __init__(self, path: Path, parent: Parent, page_bytes: int) -> None:
        """Open the cache at ``path`` if it is that of ``parent``."""
        self._parent = parent
        self._cache = PageCache.open(path, parent.snapshot.id, page_bytes) if parent.snapshot else None
        seed = self._cache.seed if self._cache else secrets.randbits(64)
        self._hasher = PageHasher(page_bytes, seed)
        self._next = PageCacheWriter(path, page_bytes, seed)
        self._reused: list[Entry] = []
        self.changed: dict[bytes, int] = {}

    @property
    def compares(self) -> bool:
        """Whether there is a parent and a cache to compare with: else all pages count as changed."""
        return self._cache is not None

    def begin(self, entry: Entry) -> FilePages:
        """Return what is known of a file: only where parent and cache agree on it."""
        then = self._parent.entry(entry.path)
        known = self._cache.hashes(then) if self._cache and then else None
        extents = self._extents(then) if then and known is not None else None
        if known is None or extents is None:
            return _HashedPages(self._hasher, entry.size, NO_HASHES, NO_EXTENTS)
        return _HashedPages(self._hasher, entry.size, known, extents)

    def finish(self, entry: Entry, pages: FilePages) -> None:
        """Write a file's hashes into the new cache."""
        self._next.add(entry, pages.hashes[: -(-entry.size // pages.page_bytes)])
        self.changed[entry.path] = pages.changed

    def reuse(self, entry: Entry) -> None:
        """Go on knowing a file that was taken from the parent unread."""
        self._reused.append(entry)

    def commit(self, snapshot_id: str) -> OSError | None:
        """Put the new cache in place: the snapshot exists. Returns why it could not be written, which is no error."""
        if self._cache is not None:
            self._next.copy(self._cache, self._reused)
        return self._next.commit(snapshot_id)

    def _extents(self, entry: Entry) -> np.ndarray | None:
        try:
            return self._parent.extents(entry)
        except DamageError:
            return None
