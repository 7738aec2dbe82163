"""The object that holds one WAL file (segment, history file, part of a segment): sealed for owners, stamped for all.

Bytes: header (16), salt (32), key commitment (32), sealed file key, sealed stamp, frames back to back. The frames hold
the content, each as it is or as zstd, under a random key that is sealed to the epoch's public key: who writes WAL
cannot read it back (history files alone are sealed under the metadata key). The *stamp* is sealed under the metadata
key: it lets a writer tell the same bytes from other bytes under the same name, and tells of a damaged object.
"""

from __future__ import annotations

import os
import struct
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec
import zstandard
from blake3 import blake3

from holdfast.errors import DamageError
from holdfast.repository.crew import Crew
from holdfast.repository.crypto import COMMITMENT_BYTES, TAG_BYTES, SealBrokenError, require_commitment, seal
from holdfast.repository.sealed import MAGIC, SALT_BYTES, VERSION, ObjectType
from holdfast.repository.walframes import FRAME_BYTES, compress_frame, cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.crypto import Cipher
    from holdfast.repository.keys import Keys
    from holdfast.repository.walframes import PackedFrames
    from holdfast.storage.base import Buffer

WAL_PREFIX = "wal"
STAMP_READ_BYTES = 8192
"""One read of this length gets header and stamp of any WAL file up to the largest segment (1 GiB)."""
_SMALL_FRAME_BYTES = 64 << 10
_OPENED_ONE_IN = 8
_CONTENT_LIMIT_BYTES = 1 << 30
_HEADER = struct.Struct("<8sBBHHH")  # magic, version, type, epoch, length of the sealed key, length of the sealed stamp
_FIXED_BYTES = _HEADER.size + SALT_BYTES + COMMITMENT_BYTES
_STAMP_PURPOSE = "wal stamp"
_HISTORY_PURPOSE = "wal history"
_FOR_WRITERS = ".history"
"""History files hold positions, no content: who archives must be able to say what can be recovered."""
_CONTENT_KIND = "data"
_BAD_MEMORY = "nothing was stored; this points to bad memory or a broken library"


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What a writer may know of a stored WAL file.

    ``digest`` is the chunk id of the whole content, ``stored_digest`` the BLAKE3 of the frames as they are stored;
    ``frames`` are their stored lengths. ``archived`` is the time of the host that stored it, ISO 8601 in UTC.
    """

    digest: bytes
    length_bytes: int
    frames: tuple[int, ...]
    stored_digest: bytes
    archived: str
    host: str


class SealOptions(msgspec.Struct, frozen=True):
    """How a WAL file is sealed: zstd's level (0: stored as it is), threads, and what its stamp says of the host."""

    level: int
    threads: int
    archived: str
    host: str


class _Head(msgspec.Struct, frozen=True):
    """The first bytes of an object, parsed. ``end`` is where the frames begin."""

    raw: bytes
    epoch: int
    salt: bytes
    commitment: bytes
    sealed_key: bytes
    stamp: Stamp
    end: int


def content_digest(keys: Keys, content: Buffer) -> bytes:
    """Return the keyed digest by which same and other bytes are told apart."""
    return keys.chunk_id(_CONTENT_KIND, content)


def seal_wal_file(
    keys: Keys, name: str, content: Buffer, options: SealOptions, packed_before: PackedFrames | None = None
) -> bytearray:
    """Return the bytes of the object ``name``; ``packed_before`` is what was compressed of it already, if it fits.

    Before this returns, every small frame and a sample of the large ones (one in eight, by chance) was opened again and
    compared, as with packs: opening all would cost as much again as compressing them.
    """
    salt = os.urandom(SALT_BYTES)
    epoch, sealed_key, cipher = _new_cipher(keys, name, salt)
    view = memoryview(content)
    plains = cut(content)
    packed: list[Buffer] = list(plains)

    def compress(number: int) -> None:
        packed[number] = compress_frame(plains[number], options.level)

    if packed_before is not None and packed_before.level == options.level:
        packed = list(packed_before.frames)
    else:
        _for_each(len(plains), options.threads, compress)
    lengths = tuple(len(frame) + TAG_BYTES for frame in packed)
    # Everything but the digest of the sealed frames is known now: so is the stamp's length, and where frames begin.
    draft = Stamp(content_digest(keys, view), len(view), lengths, bytes(32), options.archived, options.host)
    stamp_length = len(msgspec.msgpack.encode(draft)) + TAG_BYTES
    header = _HEADER.pack(MAGIC, VERSION, ObjectType.WAL, epoch, len(sealed_key), stamp_length)
    raw = header + salt + cipher.commitment + sealed_key
    places = _places(len(raw) + stamp_length, lengths)
    stored = bytearray(len(raw) + stamp_length + sum(lengths))
    out = memoryview(stored)

    def seal_frame(number: int) -> None:
        offset, length = places[number]
        sealed = out[offset : offset + length]
        cipher.seal_into(offset, packed[number], _frame_aad(draft.digest), sealed)
        if len(plains[number]) > _SMALL_FRAME_BYTES and os.urandom(1)[0] % _OPENED_ONE_IN:
            return
        opened = _open_frame(cipher, draft.digest, offset, sealed, len(plains[number]))
        if blake3(opened).digest() != blake3(plains[number]).digest():
            raise DamageError(name, f"the frame at {offset} does not come back as it was", hint=_BAD_MEMORY)

    _for_each(len(plains), options.threads, seal_frame)
    stamp = msgspec.structs.replace(draft, stored_digest=blake3(out[len(raw) + stamp_length :]).digest())
    out[: len(raw) + stamp_length] = raw + seal(_stamp_cipher(keys, name, salt), 0, msgspec.msgpack.encode(stamp), raw)
    return stored


def read_stamp(keys: Keys, name: str, stored: Buffer) -> Stamp:
    """Return the stamp from an object's first STAMP_READ_BYTES, or all of it; DamageError where it does not open."""
    return _read_head(keys, name, stored).stamp


def stored_length(keys: Keys, name: str, stored: Buffer) -> int:
    """Return the length in bytes that the whole object must have, from its first STAMP_READ_BYTES."""
    head = _read_head(keys, name, stored)
    return head.end + sum(head.stamp.frames)


def require_whole(keys: Keys, name: str, stored: Buffer) -> Stamp:
    """Return the stamp of an object, proven to have every byte that was stored; needs no private key."""
    head = _read_head(keys, name, stored)
    frames = memoryview(stored)[head.end :]
    if len(frames) != sum(head.stamp.frames) or blake3(frames).digest() != head.stamp.stored_digest:
        raise DamageError(name, "its bytes are not those that were stored")
    return head.stamp


def open_wal_file(keys: Keys, name: str, stored: Buffer, threads: int) -> bytearray:
    """Return the content of the object ``name``, or raise DamageError; KeyRefusedError without an owner's key."""
    head = _read_head(keys, name, stored)
    stamp = head.stamp
    cipher = _stored_cipher(keys, name, head)
    view, content = memoryview(stored), bytearray(stamp.length_bytes)
    out = memoryview(content)
    places = _places(head.end, stamp.frames)

    def open_frame(number: int) -> None:
        offset, length = places[number]
        plain = out[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]
        plain[:] = _open_frame(cipher, stamp.digest, offset, view[offset : offset + length], len(plain))

    try:
        require_commitment(cipher, head.commitment)
        if len(view) != head.end + sum(stamp.frames) or len(places) != -(-len(out) // FRAME_BYTES):
            raise SealBrokenError("it is truncated, or its stamp is not its own")
        _for_each(len(places), threads, open_frame)
    except (SealBrokenError, zstandard.ZstdError) as error:
        raise DamageError(name, str(error)) from error
    if content_digest(keys, content) != stamp.digest:
        raise DamageError(name, "it does not hold the content that it should")
    return content


def _read_head(keys: Keys, name: str, stored: Buffer) -> _Head:
    view = memoryview(stored)
    if len(view) < _FIXED_BYTES:
        raise DamageError(name, f"truncated to {len(view)} bytes")
    magic, version, kind, epoch, key_length, stamp_length = _HEADER.unpack(view[: _HEADER.size])
    raw = bytes(view[: _FIXED_BYTES + key_length])
    end = len(raw) + stamp_length
    if (magic, version, kind) != (MAGIC, VERSION, ObjectType.WAL) or end > min(len(view), STAMP_READ_BYTES):
        raise DamageError(name, "its header is damaged or of another type of object")
    salt = raw[_HEADER.size : _HEADER.size + SALT_BYTES]
    try:
        opened = _stamp_cipher(keys, name, salt).open(0, view[len(raw) : end], raw)
        stamp = msgspec.msgpack.decode(opened, type=Stamp)
    except (SealBrokenError, msgspec.MsgspecError) as error:
        raise DamageError(name, f"its stamp does not open ({error}): renamed, foreign or damaged") from error
    if not 0 <= stamp.length_bytes <= _CONTENT_LIMIT_BYTES:
        raise DamageError(name, "its stamp names an absurd length")
    commitment = raw[_HEADER.size + SALT_BYTES : _FIXED_BYTES]
    return _Head(raw, epoch, salt, commitment, raw[_FIXED_BYTES:], stamp, end)


def _new_cipher(keys: Keys, name: str, salt: bytes) -> tuple[int, bytes, Cipher]:
    """Return (epoch, sealed key, cipher) for the frames of a new file."""
    context = keys.context(name, salt)
    if name.endswith(_FOR_WRITERS):
        return 0, b"", keys.metadata_cipher(_HISTORY_PURPOSE, context)
    return keys.new_data_cipher(context)


def _stored_cipher(keys: Keys, name: str, head: _Head) -> Cipher:
    context = keys.context(name, head.salt)
    if name.endswith(_FOR_WRITERS):
        return keys.metadata_cipher(_HISTORY_PURPOSE, context)
    return keys.data_cipher(head.epoch, head.sealed_key, context, name)


def _stamp_cipher(keys: Keys, name: str, salt: bytes) -> Cipher:
    return keys.metadata_cipher(_STAMP_PURPOSE, keys.context(name, salt))


def _frame_aad(digest: bytes) -> bytes:
    return bytes([ObjectType.WAL]) + digest


def _places(start: int, lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    places = []
    for length in lengths:
        places.append((start, length))
        start += length
    return places


def _open_frame(cipher: Cipher, digest: bytes, offset: int, sealed: memoryview, length_bytes: int) -> Buffer:
    """Return a frame's content, which has ``length_bytes``."""
    content = cipher.open(offset, sealed, _frame_aad(digest))
    if len(content) == length_bytes:
        return content
    if zstandard.frame_content_size(content) != length_bytes:
        raise SealBrokenError(f"the frame at {offset} has another length than its stamp says")
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=length_bytes)


def _for_each(count: int, threads: int, do: Callable[[int], None]) -> None:
    """Do the numbers 0 to ``count``, in threads where there is more than one of both."""
    if min(count, threads) <= 1:
        for number in range(count):
            do(number)
        return
    Crew("wal", min(count, threads), lambda: nullcontext(do)).work_off(iter(range(count)))
