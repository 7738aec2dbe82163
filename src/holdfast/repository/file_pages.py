"""What is known of the pages of one file during one backup: which must be read, and which of those differ.

Without a hint every page is read and its hash decides. A hint (``page_hint.py``) leaves pages unread; and from time to
time it is put to the test: then all are read, and what differs without having been named was missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from holdfast.repository.extents import hardly_used, pages_within
from holdfast.repository.file_extents import NOTHING_STORED
from holdfast.repository.page_hash import NO_HASHES, UNKNOWN, PageHasher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.repository.file_extents import StoredExtents
    from holdfast.repository.page_hash import Hashes
    from holdfast.repository.page_hint import PageHint

    Pages = slice | NDArray[np.int64]
    """Pages of a file by their numbers: a run, or any, ascending."""

PAGE_BYTES = 8192
NO_PAGES = np.zeros(0, dtype=np.int64)

_HARDLY_USED = 3 / 5
"""A chunk is hardly used when its file needs no more than this share of it. What it needs moves once, after all else in
the chunk has changed: so over time healing stores about one and a half times what the changes did, at most."""


class FilePages(Protocol):
    """The pages of one file; used by several threads, each on pages of its own."""

    @property
    def page_bytes(self) -> int:
        """The size of a page."""
        ...

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of any page: all of them differ."""
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
    def missed(self) -> NDArray[np.int64]:
        """The numbers of the pages that differ though a hint did not name them."""
        ...

    @property
    def stored(self) -> StoredExtents:
        """Where the parent has the file's content; nowhere when nothing is known."""
        ...

    @property
    def healing(self) -> NDArray[np.bool_]:
        """Which pages lie in chunks that are hardly used any more; empty when none do."""
        ...

    def wanted(self, run: slice) -> NDArray[np.bool_] | None:
        """Return which pages of a run must be read; None means all."""
        ...

    def keep(self, pages: NDArray[np.int64]) -> None:
        """Go on knowing pages that need not be read."""
        ...

    def differing(self, pages: Pages, block: memoryview) -> NDArray[np.bool_]:
        """Return which of some pages, read back to back into ``block``, are not as the parent has them."""
        ...

    def doubt(self, pages: NDArray[np.int64]) -> None:
        """Forget pages: they are not sound, and must be looked at again next time."""
        ...


class UnknownPages:
    """A file of which nothing is known, and nothing will be (FilePages)."""

    page_bytes = PAGE_BYTES
    is_unknown = True
    hashes = NO_HASHES
    changed = 0
    missed = NO_PAGES
    stored = NOTHING_STORED
    healing = np.zeros(0, dtype=bool)

    def wanted(self, run: slice) -> NDArray[np.bool_] | None:  # noqa: ARG002 - the interface
        """Return that all must be read."""
        return None

    def keep(self, pages: NDArray[np.int64]) -> None:
        """Nothing is known."""

    def differing(self, pages: Pages, block: memoryview) -> NDArray[np.bool_]:  # noqa: ARG002 - the interface
        """Return that all pages differ."""
        return np.ones(-(-len(block) // self.page_bytes), dtype=bool)

    def doubt(self, pages: NDArray[np.int64]) -> None:
        """Nothing was remembered."""


class HashedPages:
    """A file whose pages are hashed as they are read (FilePages)."""

    def __init__(self, hasher: PageHasher, size: int, known: Hashes, stored: StoredExtents) -> None:
        """``known``: the parent's hashes from the first page on, of as many pages as it has, and where they are."""
        self._hasher = hasher
        self.page_bytes, self.stored = hasher.page_bytes, stored
        self.is_unknown = not known.any()
        self._changed: list[int] = []
        # What is never read is a hole, or lies behind the end: a snapshot has zeros there
        self.hashes = np.full(-(-size // self.page_bytes), hasher.zero, dtype=np.uint64)
        self._known = known if len(known) >= len(self.hashes) else _lengthened(known, len(self.hashes))
        worn = stored.table[hardly_used(stored.table, _HARDLY_USED)]
        self.healing = pages_within(worn, self.page_bytes, len(self._known)) if len(worn) else UnknownPages.healing

    @property
    def changed(self) -> int:
        """How many pages of those read so far differ."""
        return sum(self._changed)

    @property
    def missed(self) -> NDArray[np.int64]:
        """No page: there was no hint."""
        return NO_PAGES

    def wanted(self, run: slice) -> NDArray[np.bool_] | None:  # noqa: ARG002 - the interface
        """Return that all must be read."""
        return None

    def keep(self, pages: NDArray[np.int64]) -> None:
        """Take the parent's hashes over."""
        self.hashes[pages] = self._known[pages]

    def differing(self, pages: Pages, block: memoryview) -> NDArray[np.bool_]:
        """Hash pages; return which are not as the parent has them."""
        hashes, known = self._hasher.hashes(block), self._known[pages]
        self.hashes[pages] = hashes
        differs: NDArray[np.bool_] = (hashes != known) | (known == UNKNOWN)
        self._changed.append(int(np.count_nonzero(differs)))
        return differs

    def doubt(self, pages: NDArray[np.int64]) -> None:
        """Forget pages."""
        self.hashes[pages] = UNKNOWN


class HintedPages(HashedPages):
    """A file of which only the pages that a hint names are read, and those of which nothing is known."""

    def __init__(
        self, hasher: PageHasher, size: int, known: Hashes, stored: StoredExtents, *, named: NDArray[np.bool_]
    ) -> None:
        """``named``: which of the first pages that ``known`` has may have changed; those after them are read."""
        super().__init__(hasher, size, known, stored)
        self._wanted = np.ones(len(self._known), dtype=bool)
        self._wanted[: len(named)] = named | (known[: len(named)] == UNKNOWN)

    def wanted(self, run: slice) -> NDArray[np.bool_] | None:
        """Return which pages of a run are named, or not known."""
        return self._wanted[run]


class ReviewedPages(HintedPages):
    """A file that is read whole to see what the hint would have missed."""

    def __init__(
        self,
        hasher: PageHasher,
        size: int,
        known: Hashes,
        stored: StoredExtents,
        *,
        named: NDArray[np.bool_],
        hint: PageHint,
    ) -> None:
        super().__init__(hasher, size, known, stored, named=named)
        self._hint = hint
        self._found: list[int] = []

    @property
    def missed(self) -> NDArray[np.int64]:
        """The pages that differ, were not named, and are sound."""
        is_sound = self.hashes != UNKNOWN
        return np.array([page for page in sorted(self._found) if is_sound[page]], dtype=np.int64)

    def wanted(self, run: slice) -> NDArray[np.bool_] | None:  # noqa: ARG002 - the interface
        """Return that all must be read."""
        return None

    def differing(self, pages: Pages, block: memoryview) -> NDArray[np.bool_]:
        """Hash pages; return which are not as the parent has them, and note those among them that were not named."""
        differs = super().differing(pages, block)
        for at in np.flatnonzero(differs & ~self._wanted[pages]).tolist():
            if not self._hint.explains(block[at * self.page_bytes : (at + 1) * self.page_bytes]):
                self._found.append(_number(pages, at))
        return differs


def _number(pages: Pages, at: int) -> int:
    return int(pages.start) + at if isinstance(pages, slice) else int(pages[at])


def _lengthened(known: Hashes, count: int) -> Hashes:
    """Return hashes with UNKNOWN for the pages after them."""
    longer = np.full(count, UNKNOWN, dtype=np.uint64)
    longer[: len(known)] = known
    return longer
