"""Opening frames: nothing leaves here that is not authenticated, of the right length, and of the right chunk id."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import zstandard
from blake3 import blake3

from holdfast.errors import DamageError, VerificationError
from holdfast.repository.crypto import TAG_BYTES
from holdfast.repository.pack import Frame, FrameCipher

if TYPE_CHECKING:
    from holdfast.repository.keys import Keys
    from holdfast.repository.packer import StoredPack
    from holdfast.storage.base import Buffer, Storage

CHUNK_LIMIT_BYTES = 16 << 20
_SAMPLE_EVERY = 64


class FrameOpener:
    """Opens frames of any pack; one per repository, used by many threads."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._local = threading.local()

    def open(self, cipher: FrameCipher, frame: Frame, chunk: bytes, sealed: Buffer) -> Buffer:
        """Return a chunk's plaintext."""
        content = cipher.open(frame, chunk, sealed)
        if is_compressed(frame):
            try:
                _require_plausible(frame, content)
                content = self._decompressor().decompress(content, max_output_size=frame.plain)
            except zstandard.ZstdError as error:
                raise _damage(cipher, frame, f"does not decompress ({error})") from error
        self._require_chunk(cipher, frame, chunk, content)
        return content

    def open_into(self, cipher: FrameCipher, frame: Frame, chunk: bytes, sealed: Buffer, out: memoryview) -> None:
        """Write a chunk's plaintext into ``out``, which is exactly as long."""
        content = cipher.open(frame, chunk, sealed)
        if is_compressed(frame):
            try:
                with self._decompressor().stream_reader(content, closefd=False) as stream:
                    is_whole = stream.readinto(out) == len(out) and not stream.read(1)
            except zstandard.ZstdError as error:
                raise _damage(cipher, frame, f"does not decompress ({error})") from error
            if not is_whole:
                raise _damage(cipher, frame, "has another length than the index says")
        else:
            out[:] = content
        self._require_chunk(cipher, frame, chunk, out)

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        if not hasattr(self._local, "decompressor"):
            self._local.decompressor = zstandard.ZstdDecompressor()
        decompressor: zstandard.ZstdDecompressor = self._local.decompressor
        return decompressor

    def _require_chunk(self, cipher: FrameCipher, frame: Frame, chunk: bytes, content: Buffer) -> None:
        if len(content) != frame.plain or self._keys.chunk_id(cipher.ref.kind, content) != chunk:
            raise _damage(cipher, frame, "does not hold the chunk that it should")


class SampledVerifier:
    """Opens every ``_SAMPLE_EVERY``th frame of a pack again, from memory: the compressor and the cipher are checked."""

    def __init__(self, opener: FrameOpener) -> None:
        self._opener = opener

    def verify(self, stored: StoredPack, content: Buffer, cipher: FrameCipher) -> None:
        """Raise DamageError when a sampled frame does not come back."""
        _verify_frames(self._opener, stored, content, cipher, _SAMPLE_EVERY)


class ReadBackVerifier:
    """Reads the whole pack back from the storage and opens every frame of it."""

    def __init__(self, opener: FrameOpener, storage: Storage) -> None:
        self._opener, self._storage = opener, storage

    def verify(self, stored: StoredPack, content: Buffer, cipher: FrameCipher) -> None:
        """Raise DamageError when the pack, or any frame of it, does not come back."""
        back = memoryview(self._storage.get(stored.pack.ref.name))
        if len(back) != len(content) or blake3(back).digest() != stored.pack.digest:
            raise DamageError(stored.pack.ref.name, "the storage gave back other bytes than it was given")
        _verify_frames(self._opener, stored, back, cipher, 1)


def _verify_frames(opener: FrameOpener, stored: StoredPack, content: Buffer, cipher: FrameCipher, step: int) -> None:
    view = memoryview(content)
    for row in stored.table[::step]:
        frame = Frame(int(row["offset"]), int(row["stored"]), int(row["plain"]))
        opener.open(cipher, frame, bytes(row["chunk"]), view[frame.offset : frame.offset + frame.stored])


def is_compressed(frame: Frame) -> bool:
    """Return whether a frame holds zstd: one that is stored as is has exactly the plaintext's length and a tag."""
    return frame.stored != frame.plain + TAG_BYTES


def _require_plausible(frame: Frame, packed: Buffer) -> None:
    """Refuse what would make the decompressor allocate something else than the chunk."""
    if frame.plain > CHUNK_LIMIT_BYTES or zstandard.frame_content_size(packed) != frame.plain:
        raise zstandard.ZstdError(f"not a chunk of {frame.plain} bytes")


def _damage(cipher: FrameCipher, frame: Frame, reason: str) -> VerificationError:
    return DamageError(cipher.ref.name, f"frame at {frame.offset} {reason}")
