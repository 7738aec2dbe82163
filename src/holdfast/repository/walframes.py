"""The first half of sealing a WAL file: cutting it into frames and compressing each. Needs no key, and only zstandard.

So a cold push can begin with it in a thread, while the modules that the other half needs are still being imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import zstandard

if TYPE_CHECKING:
    from holdfast.storage.base import Buffer

FRAME_BYTES = 4 << 20


class PackedFrames(NamedTuple):
    """The frames of one file, compressed at a level of zstd's (0: as they are)."""

    level: int
    frames: tuple[Buffer, ...]


def cut(content: Buffer) -> list[memoryview]:
    """Return the frames of a file, as views."""
    view = memoryview(content)
    return [view[at : at + FRAME_BYTES] for at in range(0, len(view), FRAME_BYTES)]


def compress_frame(plain: memoryview, level: int) -> Buffer:
    """Return a frame compressed, or as it is where that is not shorter, or the level is 0."""
    if level == 0:
        return plain
    packed = zstandard.ZstdCompressor(level=level).compress(plain)
    return packed if len(packed) < len(plain) else plain
