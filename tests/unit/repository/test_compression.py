"""Compression: what a policy returns is the chunk, smaller; and ``auto`` goes by what it measured."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.repository.compression import ContentClass, MeasuredLevel, parse_compression

TEXT = b"".join(b"line %d of a file that compresses well\n" % number for number in range(2000))


@pytest.mark.parametrize("name", ["auto", "none", "zstd-1", "zstd-3", "zstd-19"])
@given(data=st.binary(max_size=400))
def test_what_comes_out_is_the_chunk_and_smaller(name: str, data: bytes) -> None:
    packed = parse_compression(name)().compress(ContentClass.FILE, data * 3)
    if packed is not None:
        assert len(packed) < len(data * 3)
        assert zstandard.decompress(packed) == data * 3


def test_none_stores_as_is() -> None:
    assert parse_compression("none")().compress(ContentClass.FILE, TEXT) is None


def test_auto_stores_random_data_as_it_is_without_trying() -> None:
    policy, chance = MeasuredLevel(), random.Random(1)
    for _ in range(10):
        assert policy.compress(ContentClass.FILE, chance.randbytes(10_000)) is None
    assert policy._levels[ContentClass.FILE] == 0
    assert policy.compress(ContentClass.FILE, TEXT) is None  # the class, not the chunk, is judged


def test_auto_judges_each_class_apart() -> None:
    policy, chance = MeasuredLevel(), random.Random(1)
    policy.compress(ContentClass.FILE, chance.randbytes(10_000))
    assert policy.compress(ContentClass.RELATION, TEXT) is not None


def test_auto_changes_its_mind_when_the_content_does() -> None:
    policy, chance = MeasuredLevel(), random.Random(1)
    policy.compress(ContentClass.FILE, chance.randbytes(1000))
    results = [policy.compress(ContentClass.FILE, TEXT) for _ in range(200)]
    assert results[0] is None
    assert results[-1] is not None


def test_auto_takes_the_dearer_level_only_where_it_is_worth_it() -> None:
    policy = MeasuredLevel()
    policy.compress(ContentClass.FILE, TEXT)
    sizes = {level: len(zstandard.ZstdCompressor(level=level).compress(TEXT)) for level in (1, 3)}
    assert policy._levels[ContentClass.FILE] == (3 if sizes[3] < 0.95 * sizes[1] else 1)


@pytest.mark.parametrize("text", ["", "zstd", "zstd-0", "zstd-20", "zstd-1x", "gzip", "AUTO", "zstd--1"])
def test_other_names_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_compression(text)
    assert caught.value.hint
