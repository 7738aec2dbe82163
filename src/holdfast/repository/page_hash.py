"""A 64-bit hash for each page: what a backup remembers of pages, to know next time which of them changed.

XXH3 is quick (a page costs less than reading it) and no cryptography: that is enough, as nobody gains by two pages of
his own cluster being taken for one. The seed is random all the same, so that no content collides by design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

NO_HASHES = np.zeros(0, dtype=np.uint64)
UNKNOWN = 0
"""No hash: a page that is taken to have changed, whatever it holds."""


class PageHasher:
    """Hashes pages of ``page_bytes`` under a seed."""

    def __init__(self, page_bytes: int, seed: int) -> None:
        self.page_bytes, self.seed = page_bytes, seed
        self.zero = xxh3_64_intdigest(bytes(page_bytes), seed)

    def hashes(self, block: memoryview) -> Hashes:
        """Return the hash of each page of a block; the last page may be short."""
        size, seed = self.page_bytes, self.seed
        return np.array(
            [xxh3_64_intdigest(block[at : at + size], seed) for at in range(0, len(block), size)], dtype=np.uint64
        )
