"""The content of a WAL file, gone through frame by frame: neither who seals it nor who opens it ever holds it whole.

Sealing costs little more than compression as long as a frame stays in the processor's cache from its reading to its
sealing. Needs no key, and only zstandard: so a cold push can begin with compressing in a thread, while the modules that
the rest needs are still being imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.repository.zstd import new_compressor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer

FRAME_BYTES = 1 << 20


class Content(Protocol):
    """The content of one WAL file."""

    @property
    def length_bytes(self) -> int:
        """How long it is."""
        ...

    def frames(self) -> Iterator[memoryview]:
        """Yield the whole content in frames: each of FRAME_BYTES, the last one what is left.

        A frame is valid until the next one is asked for. May be called again, and then begins anew.
        """
        ...

    def packed(self, number: int, level: int) -> Buffer | None:
        """Return a frame as ``compress_frame`` would, where that was done before; else None."""
        ...


class InMemory:
    """Content that somebody holds whole."""

    def __init__(self, content: Buffer) -> None:
        self._view = memoryview(content).cast("B")

    @property
    def length_bytes(self) -> int:
        """How long it is."""
        return len(self._view)

    def frames(self) -> Iterator[memoryview]:
        """Yield the frames, as views."""
        return frames_of(self._view)

    def packed(self, number: int, level: int) -> Buffer | None:  # noqa: ARG002 - the interface
        """Nothing was compressed before."""
        return None


_SHORT_MATCHES_LEVEL, _MIN_MATCH = 1, 5
"""With matches of 5 bytes level 1 took a sixth less of pgbench's WAL, in a twentieth more time."""


class FrameCompressor:
    """Compresses the frames of one file, at a level of zstd's; 0: leaves them as they are. For one thread."""

    def __init__(self, level: int) -> None:
        min_match = _MIN_MATCH if level == _SHORT_MATCHES_LEVEL else 0
        self._compressor = new_compressor(level, min_match) if level else None

    def compress(self, plain: memoryview) -> Buffer:
        """Return a frame compressed, or as it is where that is not shorter."""
        if self._compressor is None:
            return plain
        packed = self._compressor.compress(plain)
        return packed if len(packed) < len(plain) else plain


def frames_of(content: memoryview) -> Iterator[memoryview]:
    """Yield the frames of a content, as views."""
    for at in range(0, len(content), FRAME_BYTES):
        yield content[at : at + FRAME_BYTES]


def frame_lengths(length_bytes: int) -> list[int]:
    """Return the lengths of the frames of a content, before they are compressed."""
    return [min(FRAME_BYTES, length_bytes - at) for at in range(0, length_bytes, FRAME_BYTES)]
