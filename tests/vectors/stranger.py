"""A reader of format 1 written from docs/repository-format.md alone: it imports nothing of Holdfast.

It shows that the page suffices, and that nobody who has a repository and its secret depends on our code. It is slow,
and opens everything that it can.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import xxhash
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

Place = tuple[str, int, int, int]  # object name of the pack, offset, stored length, plain length
_HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x647A, 0x0001, 0x0002)


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2.3."""
    out = block = b""
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def derive(secret: bytes, purpose: str, context: bytes = b"") -> bytes:
    """The page's derive."""
    return hkdf_expand(
        hmac.digest(bytes(32), secret, "sha256"), b"holdfast/1 " + purpose.encode() + b"\0" + context, 32
    )


def hpke_open(private: bytes, message: bytes, info: bytes) -> bytes:
    """HPKE with MLKEM768-X25519 by hand: RFC 9180, and draft-connolly-cfrg-xwing-kem for the KEM."""
    enc, sealed = message[:1120], message[1120:]
    scalar = x25519.X25519PrivateKey.from_private_bytes(private[64:])
    first = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(enc[:1088])
    second = scalar.exchange(x25519.X25519PublicKey.from_public_bytes(enc[1088:]))
    public = scalar.public_key().public_bytes_raw()
    shared = hashlib.sha3_256(first + second + enc[1088:] + public + b"\\.//^\\").digest()

    def extract(salt: bytes, label: bytes, data: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + _HPKE_SUITE + label + data, "sha256")

    def expand(key: bytes, label: bytes, data: bytes, length: int) -> bytes:
        return hkdf_expand(key, struct.pack(">H", length) + b"HPKE-v1" + _HPKE_SUITE + label + data, length)

    schedule = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    nonce = expand(secret, b"base_nonce", schedule, 12)
    return AESGCM(expand(secret, b"key", schedule, 32)).decrypt(nonce, sealed, b"")


def open_sealed(secret: bytes, position: int, sealed: bytes, aad: bytes) -> bytes:
    """The encrypted cipher."""
    return AESGCM(derive(secret, "frames")).decrypt(position.to_bytes(12, "big"), sealed, aad)


def open_plain(context: bytes, position: int, sealed: bytes, aad: bytes) -> bytes:
    """The unencrypted cipher."""
    data, tag = sealed[:-16], sealed[-16:]
    head = position.to_bytes(12, "big") + len(aad).to_bytes(4, "big") + aad
    assert blake3(head + data, key=derive(bytes(32), "frames", context)).digest(16) == tag
    return data


def unzstd(data: bytes) -> bytes:
    """One zstd frame."""
    return zstandard.ZstdDecompressor().decompress(data)


def extents_of_list(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The extents of a list."""
    at, count, chunk_count, unit, *widths = struct.unpack_from("<QIIBBBBB", data)
    chunks = [data[21 + 32 * n : 53 + 32 * n] for n in range(chunk_count)]
    start, columns = 21 + 32 * chunk_count, list[list[int]]()
    for width in widths:
        columns.append(
            [sum(data[start + plane * count + n] << 8 * plane for plane in range(width)) for n in range(count)]
        )
        start += width * count
    assert start == len(data)
    ends = [0] * chunk_count
    for gap, length, number, step in zip(*columns, strict=True):
        at += gap << unit
        inside = ends[number] + (-(step + 1) // 2 if step % 2 else step // 2)
        yield at, length << unit, inside << unit, chunks[number]
        ends[number] = inside + length
        at += length << unit


class Repository:
    """A repository in a directory, opened with a passphrase or an identity's 32 bytes, or with neither."""

    def __init__(self, root: Path, passphrase: bytes | None = None, identity: bytes | None = None) -> None:
        self._root = root
        config = json.loads((root / "config").read_bytes())
        assert config["format"] == 1
        self.id = bytes.fromhex(config["id"])
        self.is_encrypted = config["suite"] != "none/blake3"
        self._keyring: dict[str, Any] = self._unlock(passphrase, identity) if self.is_encrypted else {}
        root_key = self._keyring["writer_key"] if self.is_encrypted else self.id * 2
        self._metadata_key = derive(root_key, "metadata")
        self._chunk_id_key = {kind: derive(root_key, f"{kind} chunk ids") for kind in ("data", "meta")}
        self._fingerprint_seed = int.from_bytes(derive(root_key, "chunk fingerprints")[:8], "little")
        self._check_mac("config")
        self.places = dict(self._read_index())

    def snapshots(self) -> list[dict[str, Any]]:
        """Every snapshot's JSON."""
        return [json.loads(self._open_object(name, b"S")) for name in self._names("snapshots")]

    def entries(self, snapshot: dict[str, Any]) -> Iterator[list[Any]]:
        """Every entry of a snapshot."""
        for _, leaf, count in msgspec.msgpack.decode(self.chunk(base64.b64decode(snapshot["manifest"]))):
            entries = msgspec.msgpack.decode(self.chunk(leaf))
            assert len(entries) == count
            yield from entries

    def content(self, entry: list[Any]) -> bytes:
        """A file's bytes."""
        extents = list(struct.iter_unpack("<QII32s", entry[13]))
        for chunk in entry[14]:
            extents.extend(extents_of_list(self.chunk(chunk)))
        data = bytearray(entry[10])
        for offset, length, inside, chunk in extents:
            data[offset : offset + length] = self.chunk(chunk)[inside : inside + length]
        return bytes(data)

    def chunk(self, chunk: bytes) -> bytes:
        """A chunk's bytes, authenticated."""
        name, offset, stored, plain = self.places[chunk]
        pack = (self._root / name).read_bytes()
        _, kind, key_length = struct.unpack_from("<xxxxxxxxBBxxH", pack)
        aad = bytes([kind]) + chunk
        content = self._open_frame(name, pack, key_length, (offset, pack[offset : offset + stored], aad))
        if stored != plain + 16:
            content = unzstd(content)
        key = self._chunk_id_key["data" if kind == ord("D") else "meta"]
        fingerprint = xxhash.xxh3_64_digest(content, self._fingerprint_seed)
        assert (len(content), blake3(content, key=key).digest()[:24] + fingerprint) == (plain, chunk)
        return content

    def trailer(self, name: str) -> dict[bytes, Place]:
        """What a pack's own trailer says of its chunks."""
        pack = (self._root / name).read_bytes()
        header = pack[: 80 + struct.unpack_from("<H", pack, 12)[0]]
        length, magic = struct.unpack("<I4s", pack[-8:])
        assert magic == b"HFTR"
        start = len(pack) - 8 - length
        content = unzstd(
            self._open_metadata("pack table", self._context(name, pack[16:48]), (0, pack[start:-8], header))
        )
        assert content[:32] == blake3(pack[:start]).digest()
        return {row[0]: (name, *row[1:]) for row in struct.iter_unpack("<32sIII", content[32:])}

    def wal_files(self) -> dict[str, bytes]:
        """Every file of the WAL archive, by object name."""
        paths = sorted(path for path in (self._root / "wal").rglob("*") if path.is_file())
        return {name: self._wal_file(name) for name in (str(path.relative_to(self._root)) for path in paths)}

    def _wal_file(self, name: str) -> bytes:
        data = (self._root / name).read_bytes()
        assert data[:10] == b"holdfast\x01L"
        key_length, stamp_length = struct.unpack_from("<HH", data, 12)
        context, at = self._context(name, data[16:48]), 80 + key_length
        sealed = (0, data[at : at + stamp_length], data[:at])
        digest, length, frames, stored_digest, _, _ = msgspec.msgpack.decode(
            self._open_metadata("wal stamp", context, sealed)
        )
        at += stamp_length
        assert blake3(data[at:]).digest() == stored_digest
        content = b""
        for (stored,) in struct.iter_unpack("<I", frames):
            sealed = (at, data[at : at + stored], b"L")
            if name.endswith(".history"):
                frame = self._open_metadata("wal history", context, sealed, data[48:80])
            else:
                frame = self._open_frame(name, data, key_length, sealed)
            content += frame if len(frame) == min(1 << 20, length - len(content)) else unzstd(frame)
            at += stored
        assert (len(content), blake3(content, key=self._chunk_id_key["data"]).digest()) == (length, digest)
        return content

    def _open_frame(self, name: str, pack: bytes, key_length: int, frame: tuple[int, bytes, bytes]) -> bytes:
        context, commitment = self._context(name, pack[16:48]), pack[48:80]
        if name.startswith("packs/meta/"):
            return self._open_metadata("meta pack", context, frame, commitment)
        if not self.is_encrypted:
            return open_plain(b"data\0" + context, *frame)
        (epoch,) = struct.unpack_from("<H", pack, 10)
        private = next(each["private"] for each in self._keyring["epochs"] if each["number"] == epoch)
        secret = hpke_open(private, pack[80 : 80 + key_length], context)
        assert derive(secret, "commitment") == commitment
        return open_sealed(secret, *frame)

    def _open_metadata(
        self, purpose: str, context: bytes, sealed: tuple[int, bytes, bytes], commitment: bytes | None = None
    ) -> bytes:
        if not self.is_encrypted:
            return open_plain(purpose.encode() + b"\0" + context, *sealed)
        secret = derive(self._metadata_key, purpose, context)
        assert commitment is None or derive(secret, "commitment") == commitment
        return open_sealed(secret, *sealed)

    def _open_object(self, name: str, kind: bytes) -> bytes:
        data = (self._root / name).read_bytes()
        assert data[:16] == b"holdfast\x01" + kind + bytes(6)
        sealed = (0, data[80:], data[:16])
        return unzstd(self._open_metadata("object", self._context(name, data[16:48]), sealed, data[48:80]))

    def _read_index(self) -> Iterator[tuple[bytes, Place]]:
        for name in self._names("index"):
            content = self._open_object(name, b"I")
            pack_count, count = struct.unpack_from("<II", content)
            packs = list(struct.iter_unpack("<B16sI32s", content[8 : 8 + 53 * pack_count]))
            at = 8 + 53 * pack_count
            ids = [content[at + 32 * n : at + 32 * n + 32] for n in range(count)]
            columns = struct.unpack_from(f"<{4 * count}I", content, at + 32 * count)
            for n, chunk in enumerate(ids):
                kind, pack_id, length, digest = packs[columns[n]]
                pack_name = f"packs/{'data' if kind == ord('D') else 'meta'}/{pack_id.hex()[:2]}/{pack_id.hex()}"
                pack = (self._root / pack_name).read_bytes()
                assert (len(pack), blake3(pack).digest()) == (length, digest)
                yield chunk, (pack_name, columns[count + n], columns[2 * count + n], columns[3 * count + n])

    def _unlock(self, passphrase: bytes | None, identity: bytes | None) -> dict[str, Any]:
        for name in self._names("keys"):
            slot = json.loads((self._root / name).read_bytes())
            wrapped, context = base64.b64decode(slot["wrapped"]), self.id + b"keys/" + slot["id"].encode()
            if passphrase is not None and slot["kind"] == "passphrase":
                costs = slot["argon2"]
                secret = Argon2id(
                    salt=base64.b64decode(costs["salt"]), length=32, iterations=costs["iterations"],
                    lanes=costs["lanes"], memory_cost=costs["memory_kib"],
                ).derive(passphrase)  # fmt: skip
                if derive(secret, "commitment") == base64.b64decode(slot["commitment"]):
                    return msgspec.msgpack.decode(open_sealed(secret, 0, wrapped, context))  # type: ignore[no-any-return]
            if identity is not None and slot["kind"] != "passphrase":
                secret = derive(identity, "key slot", context)
                if derive(secret, "commitment") == base64.b64decode(slot["commitment"]):
                    return msgspec.msgpack.decode(open_sealed(secret, 0, wrapped, context))  # type: ignore[no-any-return]
        raise AssertionError("no slot opens")

    def _check_mac(self, name: str) -> None:
        stored = (self._root / name).read_bytes()
        mac = json.loads(stored)["mac"].encode()
        key = derive(self._metadata_key, "documents", self._context(name, b""))
        assert base64.b64decode(mac) == blake3(stored.replace(mac, b""), key=key).digest()

    def _context(self, name: str, salt: bytes) -> bytes:
        return self.id + salt + name.encode()

    def _names(self, prefix: str) -> list[str]:
        return sorted(str(path.relative_to(self._root)) for path in (self._root / prefix).iterdir())


def parse_identity(text: str) -> bytes:
    """An identity from paper."""
    letters = text.split(" ")[1].replace("-", "")
    raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    assert blake3(raw[:32]).digest()[:3] == raw[32:]
    return raw[:32]
