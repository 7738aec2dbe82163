"""A hint: somebody who claims to know which pages changed, so that the others need not be read.

A hint is never the last word. It is believed between two readings of all pages; at each of these, every page that
changed and that no hint named is reported. What it names is read, and its hash decides as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from holdfast.repository.manifest import Entry


class PageHint(Protocol):
    """What is claimed of the time between the parent and this backup; used by many threads."""

    def named(self, entry: Entry, count: int) -> NDArray[np.bool_] | None:
        """Return which of the first ``count`` pages of a file may have changed; None where nothing is claimed of it."""
        ...

    def explains(self, page: memoryview) -> bool:
        """Whether a page that was not named may have changed since this backup began, of which nothing is claimed."""
        ...
