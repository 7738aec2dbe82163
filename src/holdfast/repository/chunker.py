"""Where chunks are cut: relation files at fixed, page-aligned boundaries, other large content where it says so itself.

Small files are not cut but gathered: several share one chunk, which saves objects, index rows and compression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer

CHUNK_BYTES = 1 << 20
"""Fixed chunks: 128 pages of 8 KiB."""

BUNDLE_FILE_BYTES = 256 << 10
"""Files up to this size are gathered into shared chunks of up to CHUNK_BYTES."""

CONTENT_MIN_BYTES, CONTENT_AVERAGE_BYTES, CONTENT_MAX_BYTES = 256 << 10, 1 << 20, 4 << 20


def fixed_cuts(length: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the fixed chunks of a run of bytes."""
    for offset in range(0, length, CHUNK_BYTES):
        yield offset, min(CHUNK_BYTES, length - offset)


def content_cuts(data: Buffer) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the content-defined chunks of a run of bytes (FastCDC, Xia et al., 2016)."""
    from fastcdc import fastcdc  # dear to import, and most clusters have no large file that is not a relation

    for chunk in fastcdc(data, CONTENT_MIN_BYTES, CONTENT_AVERAGE_BYTES, CONTENT_MAX_BYTES):
        yield chunk.offset, chunk.length
