"""The vectors in docs/repository-format.md are those that the code gives: the page cannot drift away from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from blake3 import blake3

from holdfast.model import ObjectId
from holdfast.repository.config import SUITE_ENCRYPTED, RepositoryConfig
from holdfast.repository.crypto import AesGcmCipher, PlainCipher, derive, seal
from holdfast.repository.extent_list import encode_list
from holdfast.repository.identity import render_identity
from holdfast.repository.index import ChunkRecords, IndexedPack, chunk_words, encode_index
from holdfast.repository.key_slot import Argon2Parameters, SlotKind, _slot_context
from holdfast.repository.keys import Keyring, Keys, _public_bytes
from holdfast.repository.manifest import EXTENT_DTYPE, Entry, EntryKind
from holdfast.repository.pack import FrameCipher, PackKind, PackRef
from holdfast.repository.sealed import authenticate, encode_document

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "repository-format.md"

R, W, S, PAPER = "000102030405060708090a0b0c0d0e0f", b"\x11" * 32, b"\x22" * 32, b"\x33" * 32
N = "index/" + "4" * 32
P = PackRef(PackKind.DATA, ObjectId("5" * 32))
KEYS, PLAIN = Keys(R, Keyring(W, ())), Keys(R, None)
CHUNK = b"\x66" * 32


def sealed_frame() -> bytes:
    """Return a frame of pack P at offset 1248, whose pack key is 32 bytes 77."""
    out = bytearray(len(b"content") + 16)
    FrameCipher(P, AesGcmCipher(b"\x77" * 32)).seal_into(1248, CHUNK, b"content", memoryview(out))
    return bytes(out)


def entry() -> Entry:
    """Return an entry with one extent."""
    extent = np.array([(4096, 8192, 100, np.void(CHUNK))], dtype=EXTENT_DTYPE).tobytes()
    return Entry(
        b"base/1", EntryKind.FILE, 0o600, 26, 26, "postgres", "postgres", 1, 2, 3, 12288, b"", {b"user.a": b"b"}, extent
    )


def listed() -> bytes:
    """Return a list of two extents."""
    rows = [(65536, 8192, 16384, np.void(CHUNK)), (81920, 8192, 0, np.void(CHUNK))]
    return encode_list(np.array(rows, dtype=EXTENT_DTYPE))


def index() -> bytes:
    """Return an index object's content: pack P and one record."""
    records = ChunkRecords(chunk_words([CHUNK]), *[np.array([number], dtype="<u4") for number in (0, 1248, 23, 7)])
    return encode_index([IndexedPack(P, 1400, b"\x88" * 32)], records)


def config() -> bytes:
    """Return a config with its mac."""
    bare = RepositoryConfig(1, ObjectId(R), SUITE_ENCRYPTED, "2026-11-21T08:00:00+00:00")
    return encode_document(authenticate(KEYS, "config", bare))


VECTORS: dict[str, Callable[[], bytes]] = {
    'derive(W, "metadata", "")': lambda: derive(W, "metadata", b""),
    'derive(W, "purpose", "context")': lambda: derive(W, "purpose", b"context"),
    "context(N, S)": lambda: KEYS.context(N, S),
    'chunk id of "chunk", data': lambda: KEYS.chunk_id("data", b"chunk"),
    'chunk id of "chunk", meta': lambda: KEYS.chunk_id("meta", b"chunk"),
    'chunk id of "chunk", data, unencrypted': lambda: PLAIN.chunk_id("data", b"chunk"),
    "commitment, secret W": lambda: AesGcmCipher(W).commitment,
    'sealed, secret W, position 7, data "data", aad "aad"': lambda: seal(AesGcmCipher(W), 7, b"data", b"aad"),
    "commitment, unencrypted, cipher context R": lambda: PlainCipher(bytes.fromhex(R)).commitment,
    'sealed, unencrypted, cipher context R, position 7, data "data", aad "aad"': lambda: seal(
        PlainCipher(bytes.fromhex(R)), 7, b"data", b"aad"
    ),
    'commitment, metadata cipher for "object" and context(N, S)': lambda: (
        KEYS.metadata_cipher("object", KEYS.context(N, S)).commitment
    ),
    'frame of P at offset 1248, pack key 32 bytes 77, chunk id 32 bytes 66, "content" as it is': sealed_frame,
    'mac of the document "{}" under N': lambda: KEYS.mac(N, b"{}"),
    "config of R, created 2026-11-21T08:00:00+00:00": config,
    "index of pack P (1400 bytes, BLAKE3 32 bytes 88), chunk 32 bytes 66 at 1248, stored 23, plain 7": index,
    "leaf of one entry": lambda: msgspec.msgpack.encode([entry()]),
    "list of extents: 8192 bytes at 65536 from 16384 of chunk 32 bytes 66, 8192 at 81920 from 0 of it": listed,
    'Argon2id of "passphrase", salt 16 bytes 99, 2 iterations, 64 KiB, 1 lane': lambda: Argon2Parameters(
        b"\x99" * 16, 2, 64, 1
    ).key(b"passphrase"),
    "secret of the key slot of 32 digits 5, identity I": lambda: derive(PAPER, "key slot", _slot_context(R, "5" * 32)),
    "BLAKE3 of the public key of the private key 96 bytes 33": lambda: blake3(_public_bytes(b"\x33" * 96)).digest(),
    "recovery identity I on paper": lambda: render_identity(PAPER, SlotKind.RECOVERY).encode("ascii"),
}


def documented() -> dict[str, str]:
    """Return the vectors of the page: name to hexadecimal digits."""
    block = re.search(r"```vectors\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    pairs = re.findall(r"^(\S.*)\n((?:    [0-9a-f]+\n)+)", block[1], re.MULTILINE)
    return {name: re.sub(r"\s", "", digits) for name, digits in pairs}


def test_page_and_test_have_the_same_vectors() -> None:
    assert list(documented()) == list(VECTORS)


@pytest.mark.parametrize("name", VECTORS)
def test_the_code_gives_the_documented_bytes(name: str) -> None:
    assert VECTORS[name]().hex() == documented()[name]
