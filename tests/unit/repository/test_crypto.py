"""Ciphers: what was sealed comes back exact, in its place and under its key, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.repository.crypto import (
    TAG_BYTES,
    AesGcmCipher,
    Cipher,
    PlainCipher,
    SealBrokenError,
    derive,
    require_commitment,
    seal,
)

CIPHERS: list[Cipher] = [AesGcmCipher(b"k" * 32), PlainCipher(b"context")]
OTHERS: list[Cipher] = [AesGcmCipher(b"l" * 32), PlainCipher(b"other context")]
positions = st.integers(0, 2**32)
pytestmark = pytest.mark.parametrize("number", range(len(CIPHERS)))


@given(position=positions, data=st.binary(max_size=300), aad=st.binary(max_size=40))
def test_what_was_sealed_comes_back(number: int, position: int, data: bytes, aad: bytes) -> None:
    sealed = seal(CIPHERS[number], position, data, aad)
    assert len(sealed) == len(data) + TAG_BYTES
    assert bytes(CIPHERS[number].open(position, sealed, aad)) == data


@given(data=st.binary(max_size=60), bit=st.integers(0))
def test_any_flipped_bit_is_refused(number: int, data: bytes, bit: int) -> None:
    sealed = bytearray(seal(CIPHERS[number], 7, data, b"aad"))
    bit %= 8 * len(sealed)
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBrokenError):
        CIPHERS[number].open(7, sealed, b"aad")


@given(data=st.binary(max_size=60), cut=st.integers(1, 80))
def test_what_is_cut_off_is_refused(number: int, data: bytes, cut: int) -> None:
    sealed = seal(CIPHERS[number], 7, data, b"aad")
    with pytest.raises(SealBrokenError):
        CIPHERS[number].open(7, sealed[: max(0, len(sealed) - cut)], b"aad")


def test_another_position_aad_or_key_is_refused(number: int) -> None:
    sealed = seal(CIPHERS[number], 7, b"data", b"aad")
    for cipher, position, aad in [
        (CIPHERS[number], 8, b"aad"),
        (CIPHERS[number], 7, b"aae"),
        (CIPHERS[number], 7, b""),
        (OTHERS[number], 7, b"aad"),
    ]:
        with pytest.raises(SealBrokenError):
            cipher.open(position, sealed, aad)


def test_a_commitment_fits_one_key_only(number: int) -> None:
    require_commitment(CIPHERS[number], CIPHERS[number].commitment)
    with pytest.raises(SealBrokenError, match="another name"):
        require_commitment(CIPHERS[number], OTHERS[number].commitment)


def test_derived_keys_differ_by_secret_purpose_and_context(number: int) -> None:
    keys = {
        derive(secret, purpose, context)
        for secret in (b"a" * 32, b"b" * 32)
        for purpose in ("one", "two")
        for context in (b"", b"x", b"y")
    }
    assert len(keys) == 12
    assert derive(b"a" * 32, "one", b"") == derive(b"a" * 32, "one", b"")
