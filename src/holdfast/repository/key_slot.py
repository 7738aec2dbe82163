"""One key slot: the keyring, wrapped for one secret. How slots are stored and found is for ``slots``.

A slot (``keys/<id>``, JSON) is one of:

- ``passphrase``: AES-256-GCM under an Argon2id key (RFC 9106), parameters in the slot;
- ``recovery``: the same under a key derived from 32 random bytes on paper;
- ``writer``: as ``recovery``, and the keyring inside lacks the private keys.

Only who knows a slot's secret can make it: were slots sealed to a public key, the storage could put a keyring of its
own into one, and would be sent the next backups in a form that it can read.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import ClassVar

import msgspec

from holdfast import clock
from holdfast.errors import DamageError, KeyRefusedError
from holdfast.model import ObjectId, new_object_id
from holdfast.repository.crypto import KEY_BYTES, AesGcmCipher, Cipher, SealBrokenError, derive, seal
from holdfast.repository.keys import Keyring

# RFC 9106 section 4, second recommendation scaled up: about half a second on four lanes.
_ARGON2_ITERATIONS = 6
_ARGON2_MEMORY_KIB = 128 * 1024
_ARGON2_LANES = 4
# A slot is read before it is authenticated: its parameters must not be able to exhaust the machine.
_ARGON2_MEMORY_LIMIT_KIB = 4 * 1024 * 1024
_ARGON2_ITERATIONS_LIMIT = 100


class SlotKind(StrEnum):
    """Who opens the slot."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a kind of slot
    RECOVERY = "recovery"
    WRITER = "writer"


class Argon2Parameters(msgspec.Struct, frozen=True):
    """How a passphrase becomes a key (RFC 9106); memory in KiB."""

    salt: bytes
    iterations: int = _ARGON2_ITERATIONS
    memory_kib: int = _ARGON2_MEMORY_KIB
    lanes: int = _ARGON2_LANES

    def key(self, passphrase: bytes) -> bytes:
        """Return the 32-byte key; takes about half a second on purpose. ValueError when the parameters cannot be."""
        if self.iterations > _ARGON2_ITERATIONS_LIMIT or self.memory_kib > _ARGON2_MEMORY_LIMIT_KIB:
            raise ValueError("the costs are absurd")
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # only a passphrase needs it

        return Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        ).derive(passphrase)


class KeySlot(msgspec.Struct, frozen=True):
    """One way to unlock the repository: the content of ``keys/<id>``."""

    id: ObjectId
    kind: SlotKind
    created: str
    wrapped: bytes
    label: str = ""
    argon2: Argon2Parameters | None = None
    commitment: bytes = b""
    mac: bytes = b""

    PREFIX: ClassVar[str] = "keys/"

    @property
    def opens_data(self) -> bool:
        """Whether who opens this slot can decrypt backups."""
        return self.kind is not SlotKind.WRITER


def passphrase_slot(repository_id: str, keyring: Keyring, passphrase: bytes, label: str = "") -> KeySlot:
    """Wrap a keyring for a passphrase."""
    slot_id, argon2 = new_object_id(), Argon2Parameters(os.urandom(16))
    cipher = AesGcmCipher(argon2.key(passphrase))  # the salt is the slot's own: this key seals one message only
    wrapped = seal(cipher, 0, msgspec.msgpack.encode(keyring), _slot_context(repository_id, slot_id))
    return KeySlot(slot_id, SlotKind.PASSPHRASE, _stamp(), wrapped, label, argon2, cipher.commitment)


def identity_slot(repository_id: str, keyring: Keyring, identity: bytes, kind: SlotKind, label: str = "") -> KeySlot:
    """Wrap a keyring for 32 random bytes that are kept elsewhere (recovery identity or writer credential)."""
    slot_id = new_object_id()
    cipher = _identity_cipher(repository_id, slot_id, identity)
    content = keyring.for_writer() if kind is SlotKind.WRITER else keyring
    wrapped = seal(cipher, 0, msgspec.msgpack.encode(content), _slot_context(repository_id, slot_id))
    return KeySlot(slot_id, kind, _stamp(), wrapped, label, commitment=cipher.commitment)


def open_with_passphrase(repository_id: str, slot: KeySlot, passphrase: bytes) -> Keyring | None:
    """Return the keyring, or None when the passphrase is not this slot's."""
    if slot.argon2 is None:
        return None
    try:
        cipher = AesGcmCipher(slot.argon2.key(passphrase))
    except ValueError as error:
        raise DamageError(
            KeySlot.PREFIX + slot.id, f"its parameters cannot be ({error})", hint="use another key slot"
        ) from error
    return _open_slot(repository_id, slot, cipher)


def open_with_identity(repository_id: str, slot: KeySlot, identity: bytes) -> Keyring | None:
    """Return the keyring, or None when the identity is not this slot's."""
    return _open_slot(repository_id, slot, _identity_cipher(repository_id, slot.id, identity))


def _open_slot(repository_id: str, slot: KeySlot, cipher: Cipher) -> Keyring | None:
    if cipher.commitment != slot.commitment:
        return None
    try:
        return _decode(bytes(cipher.open(0, slot.wrapped, _slot_context(repository_id, slot.id))))
    except SealBrokenError as error:
        raise _damaged(slot) from error


def _identity_cipher(repository_id: str, slot_id: str, identity: bytes) -> Cipher:
    """Return a slot's own cipher: the key seals one message only, however many slots an identity opens."""
    return AesGcmCipher(derive(identity, "key slot", _slot_context(repository_id, slot_id)))


def _damaged(slot: KeySlot) -> DamageError:
    return DamageError(
        KeySlot.PREFIX + slot.id, "the secret fits, but the slot is damaged", hint="use another key slot"
    )


def _decode(wrapped: bytes) -> Keyring:
    try:
        return msgspec.msgpack.decode(wrapped, type=Keyring)
    except msgspec.DecodeError as error:
        raise KeyRefusedError(
            "the key slot opens, but what it holds is not a keyring", hint="use another key slot"
        ) from error


def _slot_context(repository_id: str, slot_id: str) -> bytes:
    return bytes.fromhex(repository_id) + (KeySlot.PREFIX + slot_id).encode("ascii")


def _stamp() -> str:
    return clock.now().isoformat(timespec="seconds")
