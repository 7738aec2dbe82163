"""Sealing: one interface over bytes that must come back exact, from where they were put, or not at all.

No primitive is invented here. Keys are derived with HKDF-SHA256 (RFC 5869), frames sealed with AES-256-GCM
(NIST SP 800-38D), pack keys sealed with HPKE (RFC 9180) in the hybrid MLKEM768-X25519 suite. Every key is bound to
its *context* (repository, object type, object name), so an object that was moved, renamed or brought from another
repository does not open; a key commitment in each header tells that apart from damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.errors import VerificationError

if TYPE_CHECKING:
    from holdfast.storage.base import Buffer

KEY_BYTES = 32
TAG_BYTES = 16
COMMITMENT_BYTES = 32
_NONCE_BYTES = 12


class SealBrokenError(VerificationError):
    """Sealed bytes did not open; the caller knows the object's name and says it."""


class Cipher(Protocol):
    """Seals frames under one key. A position (the counter nonce) is used once per key."""

    @property
    def commitment(self) -> bytes:
        """32 bytes that fit this key and no other; they tell nothing of it."""
        ...

    def seal_into(self, position: int, data: Buffer, aad: bytes, out: memoryview) -> None:
        """Seal ``data`` into ``out``, which is exactly TAG_BYTES longer."""
        ...

    def open(self, position: int, sealed: Buffer, aad: bytes) -> Buffer:
        """Return the plaintext, or raise SealBrokenError. The result may be a view of ``sealed``."""
        ...


class AesGcmCipher:
    """AES-256-GCM; sealing key and commitment are derived from one secret, which makes it key-committing."""

    def __init__(self, secret: bytes) -> None:
        self.commitment = derive(secret, "commitment", b"")
        self._aead = AESGCM(derive(secret, "frames", b""))

    def seal_into(self, position: int, data: Buffer, aad: bytes, out: memoryview) -> None:
        """Seal ``data`` into ``out``."""
        self._aead.encrypt_into(position.to_bytes(_NONCE_BYTES, "big"), data, aad, out)

    def open(self, position: int, sealed: Buffer, aad: bytes) -> bytes:
        """Return the plaintext, or raise SealBrokenError."""
        try:
            return self._aead.decrypt(position.to_bytes(_NONCE_BYTES, "big"), sealed, aad)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("the seal is broken") from error


class PlainCipher:
    """The suite of an unencrypted repository: same lengths, same binding to position, no secrecy.

    The tag is a BLAKE3 over context, position, associated data and content: it finds damage, not forgery.
    """

    def __init__(self, context: bytes) -> None:
        self.commitment = derive(bytes(KEY_BYTES), "commitment", context)
        self._key = derive(bytes(KEY_BYTES), "frames", context)

    def seal_into(self, position: int, data: Buffer, aad: bytes, out: memoryview) -> None:
        """Copy ``data`` into ``out``, followed by its tag."""
        out[:-TAG_BYTES] = data
        out[-TAG_BYTES:] = self._tag(position, data, aad)

    def open(self, position: int, sealed: Buffer, aad: bytes) -> memoryview:
        """Return a view of the content, or raise SealBrokenError."""
        view = memoryview(sealed)
        content, tag = view[:-TAG_BYTES], view[-TAG_BYTES:]
        if len(view) < TAG_BYTES or self._tag(position, content, aad) != tag:
            raise SealBrokenError("the checksum does not fit")
        return content

    def _tag(self, position: int, data: Buffer, aad: bytes) -> bytes:
        tag = blake3(position.to_bytes(_NONCE_BYTES, "big"), key=self._key)
        tag.update(len(aad).to_bytes(4, "big") + aad)
        tag.update(data)
        return tag.digest(TAG_BYTES)


def derive(secret: bytes, purpose: str, context: bytes) -> bytes:
    """Return a 32-byte key: HKDF-SHA256 without salt, info = "holdfast/1 " purpose, NUL, context."""
    info = b"holdfast/1 " + purpose.encode("ascii") + b"\0" + context
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def seal(cipher: Cipher, position: int, data: Buffer, aad: bytes) -> bytes:
    """Seal ``data`` into new bytes."""
    sealed = bytearray(len(data) + TAG_BYTES)
    cipher.seal_into(position, data, aad, memoryview(sealed))
    return bytes(sealed)


def require_commitment(cipher: Cipher, stored: bytes) -> None:
    """Raise SealBrokenError when a header's commitment is not the one of the key that its name leads to."""
    if cipher.commitment != stored:  # neither is secret, so the time that it takes tells nothing
        raise SealBrokenError("it was sealed under another name, for another repository, or its header is damaged")
