"""Small objects (index, snapshot, session) sealed whole, and documents that stay readable but are authenticated.

A sealed object is: header (magic "holdfast", version, type letter, six zero bytes), 32-byte salt, 32-byte key
commitment, then zstd content under the metadata cipher of exactly this object name.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import zstandard

from holdfast import clock
from holdfast.errors import DamageError
from holdfast.repository.crypto import COMMITMENT_BYTES, TAG_BYTES, SealBrokenError, require_commitment, seal

if TYPE_CHECKING:
    from holdfast.repository.config import RepositoryConfig
    from holdfast.repository.key_slot import KeySlot
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer

MAGIC = b"holdfast"
VERSION = 1
SALT_BYTES = 32
_HEADER = struct.Struct("<8sBB6x")
_PURPOSE = "object"
_CONTENT_LIMIT_BYTES = 1 << 30
# The kernel of a decompressor bomb guard: no honest metadata shrinks more than this.
_RATIO_LIMIT = 2000


AnyRecord = TypeVar("AnyRecord", bound="Record")


class ObjectType(IntEnum):
    """The type byte of every binary object."""

    DATA_PACK = ord("D")
    META_PACK = ord("M")
    INDEX = ord("I")
    SNAPSHOT = ord("S")
    SESSION = ord("W")
    WAL = ord("L")
    JOURNAL = ord("J")


def seal_object(keys: Keys, kind: ObjectType, name: str, content: bytes) -> bytes:
    """Return the bytes of the object ``name``."""
    salt = os.urandom(SALT_BYTES)
    cipher = keys.metadata_cipher(_PURPOSE, keys.context(name, salt))
    header = _HEADER.pack(MAGIC, VERSION, kind)
    packed = zstandard.ZstdCompressor(level=3).compress(content)
    return header + salt + cipher.commitment + seal(cipher, 0, packed, header)


def open_object(keys: Keys, kind: ObjectType, name: str, stored: Buffer) -> bytes:
    """Return the content of the object ``name``, or raise DamageError saying what is wrong with it."""
    view = memoryview(stored)
    if len(view) < _HEADER.size + SALT_BYTES + COMMITMENT_BYTES + TAG_BYTES:
        raise DamageError(name, f"truncated to {len(view)} bytes")
    header, rest = bytes(view[: _HEADER.size]), view[_HEADER.size :]
    if header != _HEADER.pack(MAGIC, VERSION, kind):
        raise DamageError(name, "its header is damaged or of another type of object")
    salt, commitment = bytes(rest[:SALT_BYTES]), bytes(rest[SALT_BYTES : SALT_BYTES + COMMITMENT_BYTES])
    cipher = keys.metadata_cipher(_PURPOSE, keys.context(name, salt))
    try:
        require_commitment(cipher, commitment)
        return decompress(cipher.open(0, rest[SALT_BYTES + COMMITMENT_BYTES :], header))
    except (SealBrokenError, zstandard.ZstdError) as error:
        raise DamageError(name, str(error)) from error


class Record(Protocol):
    """What a sealed object holds as JSON, and under which name."""

    @property
    def object_name(self) -> str:
        """The name that it is stored under."""
        ...

    @property
    def instants(self) -> tuple[str, ...]:
        """Those of its members that must be times, as text."""
        ...


def open_record(keys: Keys, kind: ObjectType, name: str, stored: Buffer, model: type[AnyRecord]) -> AnyRecord:
    """Return the record in the object ``name``, or raise DamageError saying what is wrong with it."""
    try:
        record = msgspec.json.decode(open_object(keys, kind, name, stored), type=model)
    except msgspec.MsgspecError as error:
        raise DamageError(name, f"its content cannot be read ({error})") from error
    if record.object_name != name:
        raise DamageError(name, f"it says that it is {record.object_name}")
    try:
        for instant in record.instants:
            clock.parse_instant(instant)
    except ValueError as error:
        raise DamageError(name, f"its times cannot be read ({error})") from error
    return record


def decompress(packed: Buffer) -> bytes:
    """Return the content of one zstd frame that states its size; refuse absurd ones before allocating."""
    size = zstandard.frame_content_size(packed)
    if not 0 <= size <= min(_CONTENT_LIMIT_BYTES, 4096 + len(packed) * _RATIO_LIMIT):
        raise zstandard.ZstdError("the content size is absurd")
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)


_Document = TypeVar("_Document", "KeySlot", "RepositoryConfig")


def encode_document(document: KeySlot | RepositoryConfig) -> bytes:
    """Return the one JSON form of a readable document."""
    return msgspec.json.encode(document)


def authenticate(keys: Keys, name: str, document: _Document) -> _Document:
    """Return the document with its ``mac`` filled in."""
    bare = msgspec.structs.replace(document, mac=b"")
    return msgspec.structs.replace(document, mac=keys.mac(name, encode_document(bare)))


def require_authentic(keys: Keys, name: str, document: _Document, stored: Buffer) -> None:
    """Raise DamageError when a readable document was altered, or belongs under another name."""
    if authenticate(keys, name, document) != document or encode_document(document) != bytes(stored):
        raise DamageError(name, "altered since it was written", hint="compare it with a copy of the repository")
