"""The quick CRC-32C against the plain one, and against the check value of RFC 3720."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.postgres.crc32c import crc32c
from holdfast.postgres.crc32c_spans import _FOLDS, crc32c_consuming, crc32c_joined, crc32c_of_each

CHECK = b"123456789"


def test_check_value():
    assert crc32c_of_each([memoryview(CHECK)]) == [0xE3069283]
    assert crc32c_consuming(memoryview(bytearray(CHECK))) == 0xE3069283


@given(st.lists(st.binary(max_size=300), max_size=9))
def test_pieces_side_by_side(pieces):
    assert crc32c_of_each([memoryview(piece) for piece in pieces]) == [crc32c(piece) for piece in pieces]


def test_folding_of_every_kind_of_length():
    noise = random.Random(1).randbytes(900_000)
    for length in (
        0,
        1,
        7,
        8,
        2_127,
        2_128,
        2_137,
        4_257,
        17_023,
        17_024,
        17_041,
        45_479,
        45_480,
        45_481,
        45_488,
        50_007,
        363_840,
        363_848,
        500_003,
        900_000,
    ):
        assert crc32c_consuming(memoryview(bytearray(noise[:length]))) == crc32c(noise[:length]), length


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_joining(first, second):
    assert crc32c_joined(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)


@pytest.mark.parametrize("exponents", {exponents for exponents, _ in _FOLDS})
def test_what_is_folded_by_is_a_multiple(exponents):
    """By long division: the polynomial of CRC-32C leaves no remainder."""
    number = sum(1 << exponent for exponent in exponents)
    while number.bit_length() > 32:
        number ^= 0x11EDC6F41 << number.bit_length() - 33
    assert number == 0
