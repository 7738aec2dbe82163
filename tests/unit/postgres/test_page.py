"""Page checksums in bulk, against a plain rendering of the algorithm, page by page."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.postgres.page import _BASES, PageVerifier, page_lsn

BLOCK = 8192


def blocks(first, pages):
    return np.arange(first, first + pages, dtype=np.uint32)


def plain_checksum(page, block):
    """Follow src/include/storage/checksum_impl.h word by word."""
    words = list(struct.unpack(f"<{len(page) // 4}I", page[:8] + b"\0\0" + page[10:]))
    sums = [int(base) for base in _BASES]
    for value, lane in [
        *zip(words, list(range(32)) * (len(words) // 32), strict=True),
        *[(0, n % 32) for n in range(64)],
    ]:
        mixed = sums[lane] ^ value
        sums[lane] = (mixed * 16777619 & 0xFFFFFFFF) ^ (mixed >> 17)
    folded = block
    for value in sums:
        folded ^= value
    return folded % 65535 + 1


def sealed_page(block, size=BLOCK):
    page = bytearray(np.random.default_rng(block).bytes(size))
    page[12:16] = struct.pack("<HH", 100, size - 500)
    page[8:10] = struct.pack("<H", plain_checksum(bytes(page), block))
    return bytes(page)


def sealed_span(pages, first_block):
    """Seal many pages by the fast code, which other tests compare with the plain one."""
    span = bytearray(np.random.default_rng(pages).bytes(pages * BLOCK))
    words = np.frombuffer(span, np.uint16).reshape(pages, BLOCK // 2)
    words[:, 7] = 8000
    words[:, 4] = PageVerifier().checksums(span, blocks(first_block, pages))
    return span


@pytest.mark.parametrize("size", [1024, 8192, 32768])
def test_checksums_are_those_of_the_plain_algorithm(size):
    pages = [sealed_page(block, size) for block in range(5)]
    verifier = PageVerifier(block_size=size)
    stored = [struct.unpack_from("<H", page, 8)[0] for page in pages]
    assert verifier.checksums(b"".join(pages), blocks(0, 5)).tolist() == stored
    assert verifier.verify(b"".join(pages), blocks(0, 5)).is_clean


def test_a_long_span_is_worked_off_in_parts():
    span = np.random.default_rng(1).bytes(4100 * 1024)
    found = PageVerifier(block_size=1024).checksums(span, blocks(7, 4100))
    for n in (0, 2047, 2048, 4095, 4096, 4099):
        assert found[n] == plain_checksum(span[n * 1024 : (n + 1) * 1024], 7 + n)


@pytest.mark.parametrize("block", [0, 1, 131071, 131072, 2**31, 2**32 - 2])
def test_block_number_counts(block):
    page = sealed_page(block)
    assert PageVerifier().verify(page, blocks(block, 1)).is_clean
    assert PageVerifier().verify(page, blocks(block ^ 1, 1)).mismatched.tolist() == [0]


@pytest.mark.parametrize("pages", [0, 1, 2, 600, 2047, 2048, 2049, 4097])
def test_spans_of_any_length_are_clean(pages):
    span = sealed_span(pages, 131072 * 3)
    assert PageVerifier().verify(memoryview(span).toreadonly(), blocks(131072 * 3, pages)).is_clean


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, BLOCK - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_found_where_they_are(flips):
    span = sealed_span(40, 77)
    untouched = bytes(span)
    for page, offset, bit in flips:
        span[page * BLOCK + offset] ^= 1 << bit
    found = PageVerifier().verify(span, blocks(77, 40)).mismatched.tolist()
    for n in range(40):
        page = bytes(span[n * BLOCK : (n + 1) * BLOCK])
        if page == untouched[n * BLOCK : (n + 1) * BLOCK]:
            assert n not in found
        else:  # once in 65,535 times a damaged page has the right checksum: then it cannot be found
            assert (n in found) == (plain_checksum(page, 77 + n) != int.from_bytes(page[8:10], "little"))


def test_swapped_pages_are_found():
    span = sealed_span(4, 0)
    span[:BLOCK], span[BLOCK : 2 * BLOCK] = span[BLOCK : 2 * BLOCK], span[:BLOCK]
    assert PageVerifier().verify(span, blocks(0, 4)).mismatched.tolist() == [0, 1]


def test_zero_pages_are_valid_and_half_zero_ones_are_told_apart():
    span = sealed_span(6, 0)
    span[BLOCK : 2 * BLOCK] = bytes(BLOCK)
    span[3 * BLOCK : 4 * BLOCK] = bytes(BLOCK - 1) + b"x"
    span[5 * BLOCK + 14 : 5 * BLOCK + 16] = bytes(2)
    findings = PageVerifier().verify(span, blocks(0, 6))
    assert findings.mismatched.tolist() == []
    assert findings.unformatted.tolist() == [3, 5]
    assert not findings.is_clean
    assert PageVerifier().verify(bytes(BLOCK * 700), blocks(0, 700)).is_clean


def test_tail_of_a_page_is_not_looked_at():
    span = sealed_span(2, 0)
    assert PageVerifier().verify(bytes(span) + b"tail", blocks(0, 2)).is_clean
    assert PageVerifier().verify(b"tail", blocks(0, 0)).is_clean


def test_pages_of_several_files_are_verified_together():
    span = sealed_span(3, 0) + sealed_span(2, 131072)
    numbers = np.concatenate([blocks(0, 3), blocks(131072, 2)])
    assert PageVerifier().verify(span, numbers).is_clean
    assert PageVerifier().verify(span, blocks(0, 5)).mismatched.tolist() == [3, 4]


def test_span_is_only_read():
    span = sealed_span(3, 0)
    before = bytes(span)
    PageVerifier().verify(span, blocks(1, 3))
    assert span == before


def test_position_of_a_page_has_its_high_word_first():
    assert str(page_lsn(struct.pack("<II", 0xA, 0xB0000C) + bytes(BLOCK - 8))) == "A/B0000C"
