"""Making the object of one WAL file: a single pass over the content, each frame finished while it is in the cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import zstandard
from blake3 import blake3

from holdfast.errors import DamageError, VerificationError
from holdfast.repository.crypto import TAG_BYTES
from holdfast.repository.walfile import FRAME_AAD, STAMP_READ_BYTES, NewHead, content_hasher
from holdfast.repository.walframes import FrameCompressor, frame_lengths

if TYPE_CHECKING:
    from holdfast.repository.crypto import Cipher
    from holdfast.repository.keys import Keys
    from holdfast.repository.walframes import Content
    from holdfast.storage.base import Buffer

_SMALL_FRAME_BYTES = 64 << 10
_OPENED_ONE_IN = 8
_BAD_MEMORY = "nothing was stored; this points to bad memory or a broken library"


class SealOptions(msgspec.Struct, frozen=True):
    """How a WAL file is sealed: zstd's level (0: stored as it is), and what its stamp says of time and host."""

    level: int
    archived: str
    host: str


def room_for(length_bytes: int) -> int:
    """Return how long an object can become at most, for a content of so many bytes."""
    return STAMP_READ_BYTES + length_bytes + TAG_BYTES * len(frame_lengths(length_bytes))


def seal_wal_file(keys: Keys, name: str, content: Content, options: SealOptions, room: memoryview) -> memoryview:
    """Write the object ``name`` into ``room``, which has ``room_for`` its content; return the part that it takes.

    Before this returns, every small frame and a sample of the large ones (one in eight, by chance) was opened again and
    compared, as with packs: opening all would cost as much again as compressing them.
    """
    head = NewHead(keys, name, content.length_bytes, (options.archived, options.host))
    compressor = FrameCompressor(options.level)
    digest, stored_digest = content_hasher(keys), blake3()
    expected = frame_lengths(content.length_bytes)
    lengths: list[int] = []
    at = head.length_bytes
    for plain in content.frames():
        number = len(lengths)
        if expected[number : number + 1] != [len(plain)]:
            break
        digest.update(plain)
        packed = content.packed(number, options.level) or compressor.compress(plain)
        sealed = room[at : at + len(packed) + TAG_BYTES]
        head.cipher.seal_into(at, packed, FRAME_AAD, sealed)
        if len(plain) <= _SMALL_FRAME_BYTES or not os.urandom(1)[0] % _OPENED_ONE_IN:
            _require_same(head.cipher, name, at, sealed, plain)
        stored_digest.update(sealed)
        lengths.append(len(sealed))
        at += len(sealed)
    if len(lengths) != len(expected):
        raise VerificationError(f"{name} changed its length while it was read")
    room[: head.length_bytes] = head.finish(digest.digest(), lengths, stored_digest.digest())
    return room[:at]


def _require_same(cipher: Cipher, name: str, at: int, sealed: memoryview, plain: memoryview) -> None:
    opened: Buffer = cipher.open(at, sealed, FRAME_AAD)
    if len(opened) != len(plain):
        opened = zstandard.ZstdDecompressor().decompress(opened, max_output_size=len(plain))
    if bytes(plain) != opened:  # a view is compared item by item, bytes all at once
        raise DamageError(name, f"the frame at {at} does not come back as it was", hint=_BAD_MEMORY)
