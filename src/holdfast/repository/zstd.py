"""How zstd is told what to do: a level, and the shortest match to look for, which its plain interface does not offer.

Rows of a relation and records of WAL repeat in pieces of 4 to 8 bytes, which level 1 passes over, as it looks for 7 at
least. A cold push imports this: it knows zstandard only.
"""

from __future__ import annotations

import zstandard


def new_compressor(level: int, min_match: int = 0) -> zstandard.ZstdCompressor:
    """Return a new context, for one thread; ``min_match`` in bytes, 0: as the level has it."""
    parameters = zstandard.ZstdCompressionParameters(compression_level=level, min_match=min_match)
    return zstandard.ZstdCompressor(compression_params=parameters)
