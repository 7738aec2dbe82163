"""The key hierarchy of a repository.

A *keyring* is what opening a key slot yields. Writers get the writer key (from which chunk ids and metadata keys are
derived) and each epoch's public key: enough to write backups and to read the lists of files, not their content.
Owners also get each epoch's private key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from xxhash import xxh3_64_intdigest

from holdfast.errors import DamageError, KeyRefusedError
from holdfast.model import ChunkId
from holdfast.repository.crypto import KEY_BYTES, AesGcmCipher, Cipher, PlainCipher, derive

if TYPE_CHECKING:
    from holdfast.storage.base import Buffer

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_ID_HASH_BYTES = 24
_FINGERPRINT_BYTES = 8


class Epoch(msgspec.Struct, frozen=True):
    """One generation of data keys: the public key, and for owners the private one (seeds, raw bytes)."""

    number: int
    public: bytes
    private: bytes | None = None

    def seal_key(self, pack_key: bytes, context: bytes) -> bytes:
        """Seal a pack's key to this epoch (HPKE, info = context)."""
        return SUITE.encrypt(pack_key, _public_key(self.public), info=context)

    def private_key(self) -> hpke.MLKEM768X25519PrivateKey:
        """Return what opens the keys of packs; KeyRefusedError where a writer holds this."""
        if self.private is None:
            raise KeyRefusedError(
                "reading data needs an owner's key, and this one only writes",
                hint="use the passphrase or the recovery identity of the repository",
            )
        return _private_key(self.private)


class Keyring(msgspec.Struct, frozen=True):
    """All keys that one slot yields. Never logged: its repr is masked."""

    writer_key: bytes
    epochs: tuple[Epoch, ...]

    def __repr__(self) -> str:
        return f"Keyring(<{len(self.epochs)} epochs>)"

    @property
    def can_read_data(self) -> bool:
        """Whether an owner's private keys are present."""
        return all(epoch.private is not None for epoch in self.epochs)

    def for_writer(self) -> Keyring:
        """Return the part that a writer may hold."""
        return Keyring(self.writer_key, tuple(Epoch(epoch.number, epoch.public) for epoch in self.epochs))


class Keys:
    """The keys of one open repository, in the form that the engine asks for; without a keyring it is not encrypted."""

    def __init__(self, repository_id: str, keyring: Keyring | None) -> None:
        self.repository_id, self.keyring = repository_id, keyring
        root = keyring.writer_key if keyring else bytes.fromhex(repository_id) * 2
        self._chunk_id_keys = {kind: derive(root, f"{kind} chunk ids", b"") for kind in ("data", "meta")}
        self._fingerprint_seed = int.from_bytes(derive(root, "chunk fingerprints", b"")[:_FINGERPRINT_BYTES], "little")
        self._metadata_key = derive(root, "metadata", b"")
        self._private_keys: dict[int, hpke.MLKEM768X25519PrivateKey] = {}  # by epoch; dearer to make than to use

    def __repr__(self) -> str:
        return f"Keys({self.repository_id})"

    @property
    def is_encrypted(self) -> bool:
        """Whether content is secret."""
        return self.keyring is not None

    @property
    def can_read_data(self) -> bool:
        """Whether these keys open data packs."""
        return self.keyring is None or self.keyring.can_read_data

    def chunk_id(self, kind: str, plaintext: Buffer) -> ChunkId:
        """Return a chunk's id: 24 bytes of its keyed BLAKE3, and its fingerprint.

        Data and metadata never share an id, so neither hides in the other.
        """
        fingerprint = self.fingerprint(plaintext).to_bytes(_FINGERPRINT_BYTES, "big")
        return ChunkId(self.hasher(kind).update(plaintext).digest(_ID_HASH_BYTES) + fingerprint)

    def fingerprint(self, plaintext: Buffer) -> int:
        """Return the end of a chunk's id: its XXH3-64 under a secret seed, in a tenth of the time of the whole id.

        No cryptography: it finds any damage, and not what somebody who knows the seed (a writer) made to fit.
        """
        return xxh3_64_intdigest(plaintext, self._fingerprint_seed)

    def hasher(self, kind: str) -> blake3:
        """Return the keyed BLAKE3 of chunks of a kind, for a content that is given to it part by part."""
        return blake3(key=self._chunk_id_keys[kind])

    def context(self, object_name: str, salt: bytes) -> bytes:
        """Return what binds a key to its place: repository id, salt, and the full object name (its type first)."""
        return bytes.fromhex(self.repository_id) + salt + object_name.encode("ascii")

    def mac(self, object_name: str, document: bytes) -> bytes:
        """Return the keyed BLAKE3 that authenticates a document that must stay readable without a key."""
        key = derive(self._metadata_key, "documents", self.context(object_name, b""))
        return blake3(document, key=key).digest()

    def metadata_cipher(self, purpose: str, context: bytes) -> Cipher:
        """Return the cipher of metadata that writers and owners share."""
        if self.keyring is None:
            return PlainCipher(purpose.encode("ascii") + b"\0" + context)
        return AesGcmCipher(derive(self._metadata_key, purpose, context))

    def new_data_cipher(self, context: bytes) -> tuple[int, bytes, Cipher]:
        """Return (epoch, sealed key, cipher) for a new data pack."""
        if self.keyring is None:
            return 0, b"", PlainCipher(b"data\0" + context)
        pack_key = os.urandom(KEY_BYTES)
        epoch = self.keyring.epochs[-1]
        return epoch.number, epoch.seal_key(pack_key, context), AesGcmCipher(pack_key)

    def data_cipher(self, epoch_number: int, sealed_key: bytes, context: bytes, object_name: str) -> Cipher:
        """Return the cipher of a stored data pack; DamageError where its sealed key does not open."""
        if self.keyring is None:
            return PlainCipher(b"data\0" + context)
        epoch = next((epoch for epoch in self.keyring.epochs if epoch.number == epoch_number), None)
        if epoch is None:
            raise DamageError(object_name, f"names epoch {epoch_number}, of which there is no key")
        try:
            return AesGcmCipher(SUITE.decrypt(sealed_key, self._private_key(epoch), info=context))
        except (InvalidTag, ValueError) as error:
            raise DamageError(object_name, "its key does not open here: renamed, foreign or damaged") from error

    def _private_key(self, epoch: Epoch) -> hpke.MLKEM768X25519PrivateKey:
        known = self._private_keys.get(epoch.number)
        return known or self._private_keys.setdefault(epoch.number, epoch.private_key())


def new_keyring() -> Keyring:
    """Return a fresh hierarchy with its first epoch."""
    private = os.urandom(_MLKEM_SEED_BYTES + 32)
    return Keyring(os.urandom(KEY_BYTES), (Epoch(1, _public_bytes(private), private),))


def _private_key(seed: bytes) -> hpke.MLKEM768X25519PrivateKey:
    return hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:_MLKEM_SEED_BYTES]),
        x25519.X25519PrivateKey.from_private_bytes(seed[_MLKEM_SEED_BYTES:]),
    )


def _public_bytes(seed: bytes) -> bytes:
    mlkem_key = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:_MLKEM_SEED_BYTES])
    x25519_key = x25519.X25519PrivateKey.from_private_bytes(seed[_MLKEM_SEED_BYTES:])
    return mlkem_key.public_key().public_bytes_raw() + x25519_key.public_key().public_bytes_raw()


def _public_key(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
        x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
    )
