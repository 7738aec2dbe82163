"""Sealed objects and readable documents: exact, or refused by name."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.repository.config import SUITE_ENCRYPTED, new_config
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.sealed import (
    ObjectType,
    authenticate,
    decompress,
    encode_document,
    open_object,
    require_authentic,
    seal_object,
)

KEYS = Keys("ab" * 16, new_keyring())
PLAIN = Keys("ab" * 16, None)
NAME = "snapshots/" + "1" * 32
both = pytest.mark.parametrize("keys", [KEYS, PLAIN], ids=["encrypted", "plain"])


@both
@given(content=st.binary(max_size=5000))
def test_content_comes_back(keys: Keys, content: bytes) -> None:
    assert open_object(keys, ObjectType.INDEX, NAME, seal_object(keys, ObjectType.INDEX, NAME, content)) == content


@both
@given(position=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused_by_name(keys: Keys, position: int, bit: int) -> None:
    stored = bytearray(seal_object(keys, ObjectType.INDEX, NAME, b"content" * 20))
    stored[position % len(stored)] ^= 1 << bit
    with pytest.raises(DamageError, match=NAME):
        open_object(keys, ObjectType.INDEX, NAME, stored)


@both
def test_every_truncation_is_refused(keys: Keys) -> None:
    stored = seal_object(keys, ObjectType.INDEX, NAME, b"content")
    for length in range(len(stored)):
        with pytest.raises(DamageError, match=NAME):
            open_object(keys, ObjectType.INDEX, NAME, stored[:length])
    with pytest.raises(DamageError, match=NAME):
        open_object(keys, ObjectType.INDEX, NAME, stored + b"\0")


@both
def test_another_name_type_or_repository_is_refused(keys: Keys) -> None:
    stored = seal_object(keys, ObjectType.INDEX, NAME, b"content")
    with pytest.raises(DamageError, match="another name"):
        open_object(keys, ObjectType.INDEX, NAME[:-1] + "2", stored)
    with pytest.raises(DamageError, match="another type"):
        open_object(keys, ObjectType.SNAPSHOT, NAME, stored)
    with pytest.raises(DamageError, match="another repository"):
        open_object(Keys("cd" * 16, keys.keyring), ObjectType.INDEX, NAME, stored)


def test_the_same_content_is_never_sealed_alike() -> None:
    assert len({seal_object(KEYS, ObjectType.INDEX, NAME, b"content") for _ in range(20)}) == 20


def test_a_decompressor_bomb_is_refused_before_it_is_opened() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(256 << 20))
    with pytest.raises(zstandard.ZstdError, match="absurd"):
        decompress(bomb)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"content")
    with pytest.raises(zstandard.ZstdError, match="absurd"):
        decompress(unsized)


@both
def test_a_document_stays_readable_and_is_authentic(keys: Keys) -> None:
    document = authenticate(keys, "config", new_config(SUITE_ENCRYPTED))
    stored = encode_document(document)
    require_authentic(keys, "config", document, stored)
    assert b'"format":1' in stored


@both
def test_an_altered_document_is_refused(keys: Keys) -> None:
    document = authenticate(keys, "config", new_config(SUITE_ENCRYPTED))
    stored = encode_document(document)
    with pytest.raises(DamageError, match="keys/x: altered"):
        require_authentic(keys, "keys/x", document, stored)
    with pytest.raises(DamageError, match="altered"):
        require_authentic(keys, "config", document, stored + b" ")
    with pytest.raises(DamageError, match="altered"):
        require_authentic(Keys("cd" * 16, keys.keyring), "config", document, stored)
