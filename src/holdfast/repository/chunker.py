"""Where chunks are cut: relation files at fixed, page-aligned boundaries, other large content where it says so itself.

Small files are not cut but gathered: several share one chunk, which saves objects, index rows and compression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.storage.base import Buffer

CHUNK_BYTES = 1 << 20
"""Fixed chunks: 128 pages of 8 KiB."""

STRETCH_BYTES = 32 << 20
"""How much of a file one task goes through. Pages gathered from a longer stretch fill their chunks better; but a
restore puts the regions of a stretch together in memory, as a chunk may hold pages of any of them."""

BUNDLE_FILE_BYTES = 256 << 10
"""Files up to this size are gathered into shared chunks of up to CHUNK_BYTES."""

CONTENT_MIN_BYTES, CONTENT_AVERAGE_BYTES, CONTENT_MAX_BYTES = 256 << 10, 1 << 20, 4 << 20


def fixed_cuts(length: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the fixed chunks of a run of bytes."""
    for offset in range(0, length, CHUNK_BYTES):
        yield offset, min(CHUNK_BYTES, length - offset)


def bundle_cuts(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of the runs of small files that share a chunk, by their sizes in the order of their paths.

    Who gathers the small files of one directory and class, in whatever order they come, gets the same chunks.
    """
    first = filled = 0
    for number, size in enumerate(sizes):
        if number > first and filled + size > CHUNK_BYTES:
            yield first, number
            first, filled = number, 0
        filled += size
    if first < len(sizes):
        yield first, len(sizes)


def content_cuts(data: Buffer) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the content-defined chunks of a run of bytes (FastCDC, Xia et al., 2016)."""
    from fastcdc import fastcdc  # dear to import, and most clusters have no large file that is not a relation

    for chunk in fastcdc(data, CONTENT_MIN_BYTES, CONTENT_AVERAGE_BYTES, CONTENT_MAX_BYTES):
        yield chunk.offset, chunk.length
