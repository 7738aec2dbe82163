"""Reading the object of one WAL file: a bounded part of it at a time, whatever the size of a segment.

What is yielded may be used only when the iterator has come to its end without an error: the digests are of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard
from blake3 import blake3

from holdfast.errors import DamageError
from holdfast.repository.crypto import SealBrokenError, require_commitment
from holdfast.repository.walfile import FRAME_AAD, STAMP_READ_BYTES, content_hasher, frame_cipher, read_head
from holdfast.repository.walframes import frame_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.repository.crypto import Cipher
    from holdfast.repository.keys import Keys
    from holdfast.repository.walfile import Stamp
    from holdfast.storage.base import Buffer, Storage

SPAN_BYTES = 32 << 20
"""What is fetched at once at most."""


class StoredWalFile:
    """One object. ``size_bytes`` is its length where the caller knows it, or a bound of it."""

    def __init__(self, storage: Storage, keys: Keys, name: str, size_bytes: int | None = None) -> None:
        """Read its beginning, or all of a small one. NotFoundError, DamageError, StorageError."""
        self._storage, self._keys, self._name = storage, keys, name
        if size_bytes is None or size_bytes > SPAN_BYTES:
            size_bytes = storage.stat(name).size_bytes
        is_small = size_bytes <= SPAN_BYTES
        start = storage.get(name) if is_small else storage.get(name, length=STAMP_READ_BYTES)
        self._whole = memoryview(start) if is_small else None
        self._head = read_head(keys, name, start)
        self._size_bytes = len(start) if is_small else size_bytes

    @property
    def stamp(self) -> Stamp:
        """What a writer may know of it."""
        return self._head.stamp

    def stored(self) -> Iterator[memoryview]:
        """Yield the frames as they are stored, having compared lengths only."""
        if self._size_bytes != self._head.object_bytes:
            raise DamageError(self._name, "its bytes are not those that were stored: it is truncated, or too long")
        at = self._head.end
        for lengths in _runs(self.stamp.stored_lengths):
            span = self._span(at, sum(lengths))
            begin = 0
            for length in lengths:
                yield span[begin : begin + length]
                begin += length
            at += begin

    def proven(self) -> Iterator[memoryview]:
        """Yield the same; DamageError at the end unless every byte is the one that was stored. Needs no private key."""
        hasher = blake3()
        for frame in self.stored():
            hasher.update(frame)
            yield frame
        if hasher.digest() != self.stamp.stored_digest:
            raise DamageError(self._name, "its bytes are not those that were stored")

    def opened(self, stored: Iterable[memoryview]) -> Iterator[memoryview]:
        """Yield the content of frames, from ``stored`` or ``proven``.

        DamageError; KeyRefusedError without an owner's key.
        """
        cipher = frame_cipher(self._keys, self._name, self._head)
        hasher, at = content_hasher(self._keys), self._head.end
        try:
            require_commitment(cipher, self._head.commitment)
            for sealed, length_bytes in zip(stored, frame_lengths(self.stamp.length_bytes), strict=True):
                plain = _open_frame(cipher, at, sealed, length_bytes)
                hasher.update(plain)
                yield memoryview(plain)
                at += len(sealed)
        except (SealBrokenError, zstandard.ZstdError) as error:
            raise DamageError(self._name, str(error)) from error
        if hasher.digest() != self.stamp.digest:
            raise DamageError(self._name, "it does not hold the content that it should")

    @property
    def length_bytes(self) -> int:
        """How long the content is."""
        return self.stamp.length_bytes

    def frames(self) -> Iterator[memoryview]:
        """Yield the content as ``Content`` does: ``opened`` and ``stored`` in one."""
        return self.opened(self.stored())

    def packed(self, number: int, level: int) -> None:  # noqa: ARG002 - the interface
        """Nothing is compressed as it could be stored."""
        return

    def content(self) -> bytearray:
        """Return the whole content, for who needs it at once. DamageError, KeyRefusedError."""
        content, at = bytearray(self.length_bytes), 0
        for plain in self.frames():
            content[at : at + len(plain)] = plain
            at += len(plain)
        return content

    def _span(self, at: int, length: int) -> memoryview:
        if self._whole is not None:
            return self._whole[at : at + length]
        return memoryview(self._storage.get(self._name, offset=at, length=length))


def _runs(lengths: tuple[int, ...]) -> Iterator[list[int]]:
    """Yield the lengths in runs that add up to SPAN_BYTES at most."""
    run: list[int] = []
    total = 0
    for length in lengths:
        if run and total + length > SPAN_BYTES:
            yield run
            run, total = [], 0
        run.append(length)
        total += length
    if run:
        yield run


def _open_frame(cipher: Cipher, at: int, sealed: memoryview, length_bytes: int) -> Buffer:
    """Return a frame's content, which has ``length_bytes``."""
    content = cipher.open(at, sealed, FRAME_AAD)
    if len(content) == length_bytes:
        return content
    if zstandard.frame_content_size(content) != length_bytes:
        raise SealBrokenError(f"the frame at {at} has another length than its stamp says")
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=length_bytes)
