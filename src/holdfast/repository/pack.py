"""A pack: one immutable object of 16 to 64 MiB that holds sealed chunks, and the table to find them again.

Bytes: header (16), salt (32), key commitment (32), sealed pack key (data packs only), frames back to back, sealed
trailer (BLAKE3 of all bytes before it, table), its length (u32), magic "HFTR". A frame is a chunk, zstd or stored as
is (then it is exactly TAG_BYTES longer than its plaintext), sealed under the pack's key with its offset as the counter
nonce and (type, chunk id) as associated data; the key itself is bound to repository, pack name and salt. The trailer
is sealed under the metadata key, so a writer without the private key can rebuild the index from packs alone, and
never from damaged ones.
"""

from __future__ import annotations

import os
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import zstandard

from holdfast.errors import DamageError
from holdfast.model import OBJECT_ID, ObjectId
from holdfast.repository.crypto import COMMITMENT_BYTES, TAG_BYTES, SealBrokenError, require_commitment, seal
from holdfast.repository.sealed import MAGIC, SALT_BYTES, VERSION, ObjectType, decompress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.crypto import Cipher
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer, Storage

PACK_BYTES = 32 << 20
PACK_LIMIT_BYTES = 64 << 20
_HEADER = struct.Struct("<8sBBHHH")  # magic, version, type, epoch, length of the sealed pack key, zero
_FOOTER = struct.Struct("<I4s")
_FOOTER_MAGIC = b"HFTR"
DIGEST_BYTES = 32
_TABLE_PURPOSE = "pack table"
_META_PURPOSE = "meta pack"

# A data header is 16 + 32 + 32 + 1168 bytes; one read of this length gets any header.
HEADER_READ_BYTES = 1280

TABLE_DTYPE = np.dtype([("chunk", "V32"), ("offset", "<u4"), ("stored", "<u4"), ("plain", "<u4")])


PACK_PREFIX = "packs"


class PackKind(StrEnum):
    """Data packs need the private key to be read; meta packs do not."""

    DATA = "data"
    META = "meta"

    @property
    def object_type(self) -> ObjectType:
        """The type byte of its header."""
        return ObjectType.DATA_PACK if self is PackKind.DATA else ObjectType.META_PACK


class PackRef(NamedTuple):
    """A pack as others name it."""

    kind: PackKind
    id: ObjectId

    @property
    def name(self) -> str:
        """The object name, fanned out by the first two hex digits."""
        return f"{PACK_PREFIX}/{self.kind}/{self.id[:2]}/{self.id}"


def parse_pack_name(name: str) -> PackRef | None:
    """Return the pack that an object name is of; None for a name of another shape."""
    _, kind, _, pack_id = (*name.split("/"), "", "", "")[:4]
    if kind not in set(PackKind) or not OBJECT_ID.fullmatch(pack_id):
        return None
    ref = PackRef(PackKind(kind), ObjectId(pack_id))
    return ref if ref.name == name else None


def list_packs(storage: Storage) -> Iterator[tuple[PackRef, int]]:
    """Yield every pack in the storage with its length in bytes; names of another shape are passed over."""
    for info in storage.list(PACK_PREFIX):  # both kinds at once: far away, each request counts
        if ref := parse_pack_name(info.name):
            yield ref, info.size_bytes


class Frame(NamedTuple):
    """Where one chunk lies in its pack, lengths in bytes; ``stored`` includes the tag."""

    offset: int
    stored: int
    plain: int


class PackHeader(NamedTuple):
    """A pack's first bytes, parsed; ``raw`` is all of them."""

    raw: bytes
    epoch: int
    salt: bytes
    commitment: bytes
    sealed_key: bytes


class PackTrailer(NamedTuple):
    """A pack's last bytes, opened: its table (TABLE_DTYPE, by offset), and the BLAKE3 of the bytes before them."""

    table: np.ndarray
    digest: bytes
    start: int


class FrameCipher:
    """Seals and opens the frames of one pack."""

    def __init__(self, ref: PackRef, cipher: Cipher) -> None:
        self.ref = ref
        self._cipher = cipher
        self._type = bytes([ref.kind.object_type])

    def seal_into(self, offset: int, chunk: bytes, content: Buffer, out: memoryview) -> None:
        """Seal a frame's content for its place; ``out`` is TAG_BYTES longer."""
        self._cipher.seal_into(offset, content, self._type + chunk, out)

    def open(self, frame: Frame, chunk: bytes, sealed: Buffer) -> Buffer:
        """Return the frame's content, still compressed; DamageError where the seal is broken."""
        try:
            return self._cipher.open(frame.offset, sealed, self._type + chunk)
        except SealBrokenError as error:
            raise DamageError(self.ref.name, f"frame at {frame.offset}: {error}") from error


def new_pack(keys: Keys, ref: PackRef) -> tuple[PackHeader, FrameCipher]:
    """Return header and cipher of a pack about to be written."""
    salt = os.urandom(SALT_BYTES)
    context = keys.context(ref.name, salt)
    if ref.kind is PackKind.DATA:
        epoch, sealed_key, cipher = keys.new_data_cipher(context)
    else:
        epoch, sealed_key, cipher = 0, b"", keys.metadata_cipher(_META_PURPOSE, context)
    head = _HEADER.pack(MAGIC, VERSION, ref.kind.object_type, epoch, len(sealed_key), 0)
    raw = head + salt + cipher.commitment + sealed_key
    return PackHeader(raw, epoch, salt, cipher.commitment, sealed_key), FrameCipher(ref, cipher)


def parse_header(ref: PackRef, stored: Buffer) -> PackHeader:
    """Return a pack's header from its first HEADER_READ_BYTES (or all of it, when shorter); else DamageError."""
    view = memoryview(stored)
    fixed = _HEADER.size + SALT_BYTES + COMMITMENT_BYTES
    if len(view) < fixed:
        raise DamageError(ref.name, f"truncated to {len(view)} bytes")
    magic, version, kind, epoch, key_length, zero = _HEADER.unpack(view[: _HEADER.size])
    end = fixed + key_length
    is_ours = (magic, version, kind, zero) == (MAGIC, VERSION, ref.kind.object_type, 0)
    if not is_ours or end > min(len(view), HEADER_READ_BYTES):  # refused alike, whether the whole pack was read or not
        raise DamageError(ref.name, "its header is damaged or of another type of object")
    raw = bytes(view[:end])
    salt_end = _HEADER.size + SALT_BYTES
    return PackHeader(raw, epoch, raw[_HEADER.size : salt_end], raw[salt_end:fixed], raw[fixed:])


def open_frame_cipher(keys: Keys, ref: PackRef, header: PackHeader) -> FrameCipher:
    """Return the cipher of a stored pack; DamageError when the pack is not the one that its name says."""
    context = keys.context(ref.name, header.salt)
    if ref.kind is PackKind.DATA:
        cipher = keys.data_cipher(header.epoch, header.sealed_key, context, ref.name)
    else:
        cipher = keys.metadata_cipher(_META_PURPOSE, context)
    try:
        require_commitment(cipher, header.commitment)
    except SealBrokenError as error:
        raise DamageError(ref.name, str(error)) from error
    return FrameCipher(ref, cipher)


def seal_trailer(keys: Keys, ref: PackRef, header: PackHeader, table: np.ndarray, digest: bytes) -> bytes:
    """Return a pack's last bytes: sealed, the BLAKE3 of all bytes before them and the table (TABLE_DTYPE); a footer."""
    packed = zstandard.ZstdCompressor(level=1).compress(digest + table.tobytes())
    sealed = seal(_table_cipher(keys, ref, header), 0, packed, header.raw)
    return sealed + _FOOTER.pack(len(sealed), _FOOTER_MAGIC)


def open_trailer(keys: Keys, ref: PackRef, header: PackHeader, stored: Buffer) -> PackTrailer:
    """Return the trailer of a pack from all its bytes; DamageError where it does not open."""
    view = memoryview(stored)
    length, magic = _FOOTER.unpack(view[-_FOOTER.size :])
    start = len(view) - _FOOTER.size - length
    if magic != _FOOTER_MAGIC or start < len(header.raw):
        raise DamageError(ref.name, "its trailer is damaged or cut off")
    try:
        content = decompress(_table_cipher(keys, ref, header).open(0, view[start : -_FOOTER.size], header.raw))
        table = np.frombuffer(content, dtype=TABLE_DTYPE, offset=DIGEST_BYTES)
    except (SealBrokenError, zstandard.ZstdError, ValueError) as error:
        raise DamageError(ref.name, f"its trailer: {error}") from error
    return PackTrailer(table, content[:DIGEST_BYTES], start)


def trailer_bytes_limit(frames: int) -> int:
    """Return an upper bound of the length of a trailer over a number of frames."""
    return frames * TABLE_DTYPE.itemsize * 257 // 256 + 160 + TAG_BYTES + _FOOTER.size


def _table_cipher(keys: Keys, ref: PackRef, header: PackHeader) -> Cipher:
    return keys.metadata_cipher(_TABLE_PURPOSE, keys.context(ref.name, header.salt))
