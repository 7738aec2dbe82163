"""The object that holds one WAL file (segment, history file, part of a segment): sealed for owners, stamped for all.

Bytes: header (16), salt (32), key commitment (32), sealed file key, sealed stamp, frames back to back. The frames hold
the content, each as it is or as zstd, under a random key that is sealed to the epoch's public key: who writes WAL
cannot read it back (history files alone are sealed under the metadata key). The *stamp* is sealed under the metadata
key: it lets a writer tell the same bytes from other bytes under the same name, and tells of a damaged object.

The length of the stamp follows from the length of the content alone. So frames can be sealed as they come, each at the
place that it will have, and what stands before them is filled in last.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import DamageError
from holdfast.repository.crypto import COMMITMENT_BYTES, TAG_BYTES, SealBrokenError, seal
from holdfast.repository.sealed import MAGIC, SALT_BYTES, VERSION, ObjectType
from holdfast.repository.walframes import frame_lengths

if TYPE_CHECKING:
    from blake3 import blake3

    from holdfast.repository.crypto import Cipher
    from holdfast.repository.keys import Keys
    from holdfast.repository.walframes import Content
    from holdfast.storage.base import Buffer

WAL_PREFIX = "wal"
STAMP_READ_BYTES = 8192
"""One read of this length gets header and stamp of any WAL file up to the largest segment (1 GiB)."""
FRAME_AAD = bytes([ObjectType.WAL])
"""What frames are sealed with: their key is the file's alone, and their position the place in the object."""
_CONTENT_LIMIT_BYTES = 1 << 30
_HEADER = struct.Struct("<8sBBHHH")  # magic, version, type, epoch, length of the sealed key, length of the sealed stamp
_FIXED_BYTES = _HEADER.size + SALT_BYTES + COMMITMENT_BYTES
_STAMP_PURPOSE = "wal stamp"
_HISTORY_PURPOSE = "wal history"
_FOR_WRITERS = ".history"
"""History files hold positions, no content: who archives must be able to say what can be recovered."""
_CONTENT_KIND = "data"
_LENGTH_BYTES = 4


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What a writer may know of a stored WAL file.

    ``digest`` is the keyed BLAKE3 of the whole content, ``stored_digest`` the BLAKE3 of the frames as they are stored;
    ``frames`` are their stored lengths (u32, little-endian). ``archived`` is the time of the host that stored it, ISO
    8601 in UTC.
    """

    digest: bytes
    length_bytes: int
    frames: bytes
    stored_digest: bytes
    archived: str
    host: str

    @property
    def stored_lengths(self) -> tuple[int, ...]:
        """The stored lengths of the frames."""
        return struct.unpack(f"<{len(self.frames) // _LENGTH_BYTES}I", self.frames)


class WalHead(msgspec.Struct, frozen=True):
    """All that stands before the frames of a stored object, parsed. ``end`` is where the frames begin."""

    raw: bytes
    epoch: int
    salt: bytes
    commitment: bytes
    sealed_key: bytes
    stamp: Stamp
    end: int

    @property
    def object_bytes(self) -> int:
        """The length that the whole object must have."""
        return self.end + sum(self.stamp.stored_lengths)


class NewHead:
    """What stands before the frames of a new object: its key, and room for the stamp."""

    def __init__(self, keys: Keys, name: str, length_bytes: int, origin: tuple[str, str]) -> None:
        """``origin`` is the time archived and the host, for the stamp."""
        self._salt = os.urandom(SALT_BYTES)
        self._keys, self._name = keys, name
        draft = Stamp(
            bytes(32), length_bytes, bytes(_LENGTH_BYTES * len(frame_lengths(length_bytes))), bytes(32), *origin
        )
        self._draft = draft
        epoch, sealed_key, self.cipher = _new_cipher(keys, name, self._salt)
        stamp_length = len(msgspec.msgpack.encode(draft)) + TAG_BYTES
        header = _HEADER.pack(MAGIC, VERSION, ObjectType.WAL, epoch, len(sealed_key), stamp_length)
        self._raw = header + self._salt + self.cipher.commitment + sealed_key
        self.length_bytes = len(self._raw) + stamp_length

    def finish(self, digest: bytes, stored_lengths: list[int], stored_digest: bytes) -> bytes:
        """Return its bytes."""
        frames = struct.pack(f"<{len(stored_lengths)}I", *stored_lengths)
        stamp = msgspec.structs.replace(self._draft, digest=digest, frames=frames, stored_digest=stored_digest)
        cipher = _stamp_cipher(self._keys, self._name, self._salt)
        return self._raw + seal(cipher, 0, msgspec.msgpack.encode(stamp), self._raw)


def content_hasher(keys: Keys) -> blake3:
    """Return what makes, of a content given to it part by part, the digest that tells same and other bytes apart."""
    return keys.hasher(_CONTENT_KIND)


def content_digest(keys: Keys, content: Content) -> bytes:
    """Return that digest of a content."""
    hasher = content_hasher(keys)
    for frame in content.frames():
        hasher.update(frame)
    return hasher.digest()


def read_head(keys: Keys, name: str, stored: Buffer) -> WalHead:
    """Return the head of an object from its first STAMP_READ_BYTES, or all of it; DamageError if it does not open."""
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
    if len(stamp.frames) != _LENGTH_BYTES * len(frame_lengths(stamp.length_bytes)):
        raise DamageError(name, "its stamp is not its own")
    commitment = raw[_HEADER.size + SALT_BYTES : _FIXED_BYTES]
    return WalHead(raw, epoch, salt, commitment, raw[_FIXED_BYTES:], stamp, end)


def frame_cipher(keys: Keys, name: str, head: WalHead) -> Cipher:
    """Return the cipher of a stored object's frames; KeyRefusedError without an owner's key."""
    context = keys.context(name, head.salt)
    if name.endswith(_FOR_WRITERS):
        return keys.metadata_cipher(_HISTORY_PURPOSE, context)
    return keys.data_cipher(head.epoch, head.sealed_key, context, name)


def _new_cipher(keys: Keys, name: str, salt: bytes) -> tuple[int, bytes, Cipher]:
    """Return (epoch, sealed key, cipher) for the frames of a new file."""
    context = keys.context(name, salt)
    if name.endswith(_FOR_WRITERS):
        return 0, b"", keys.metadata_cipher(_HISTORY_PURPOSE, context)
    return keys.new_data_cipher(context)


def _stamp_cipher(keys: Keys, name: str, salt: bytes) -> Cipher:
    return keys.metadata_cipher(_STAMP_PURPOSE, keys.context(name, salt))
