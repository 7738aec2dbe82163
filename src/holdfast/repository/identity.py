"""A recovery identity or writer credential as people keep it: text to print, to lock away, and to type in again.

Form: a first line that says what it is, then 32 random bytes and a checksum (first 3 bytes of their BLAKE3) in
base32 (RFC 4648), in groups of five. Case, spaces and dashes do not matter when it is read.
"""

from __future__ import annotations

import base64
import binascii
import os
import re

from blake3 import blake3

from holdfast.errors import KeyRefusedError
from holdfast.repository.key_slot import SlotKind

_SECRET_BYTES = 32
_CHECK_BYTES = 3
_PREFIX = {SlotKind.RECOVERY: "HOLDFAST-RECOVERY-1", SlotKind.WRITER: "HOLDFAST-WRITER-1"}


def new_identity() -> bytes:
    """Return 32 random bytes."""
    return os.urandom(_SECRET_BYTES)


def render_identity(identity: bytes, kind: SlotKind) -> str:
    """Return the text of an identity, one line."""
    text = base64.b32encode(identity + _check(identity)).decode("ascii").rstrip("=")
    groups = "-".join(text[at : at + 5] for at in range(0, len(text), 5))
    return f"{_PREFIX[kind]} {groups}"


def parse_identity(text: str) -> bytes:
    """Return the 32 bytes; lines that start with # are notes. KeyRefusedError when a character is wrong."""
    line = " ".join(part for part in text.splitlines() if part.strip() and not part.lstrip().startswith("#"))
    for prefix in _PREFIX.values():
        if line.strip().upper().startswith(prefix):
            return _decode(line.strip()[len(prefix) :])
    raise KeyRefusedError(
        "this is not a recovery identity or writer credential",
        hint=f"the text begins with {' or '.join(_PREFIX.values())}; for a passphrase use 'passphrase:' instead",
    )


def _decode(groups: str) -> bytes:
    text = re.sub(r"[\s-]", "", groups).upper()
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    identity, check = raw[:_SECRET_BYTES], raw[_SECRET_BYTES:]
    if len(identity) != _SECRET_BYTES or check != _check(identity):
        raise KeyRefusedError("the identity has a mistyped character", hint="compare it with the paper, group by group")
    return identity


def _check(identity: bytes) -> bytes:
    return blake3(identity).digest(_CHECK_BYTES)
