"""Compression: what a policy returns is the chunk, smaller; and ``auto`` goes by what it measured."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from holdfast import clock
from holdfast.errors import UsageError
from holdfast.repository.compression import ContentClass, Measured, parse_compression
from holdfast.repository.zstd import new_compressor

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
    policy, chance = Measured(), random.Random(1)
    for _ in range(10):
        assert policy.compress(ContentClass.FILE, chance.randbytes(10_000)) is None
    assert policy.compress(ContentClass.FILE, TEXT) is None  # the class, not the chunk, is judged


def test_auto_judges_each_class_apart() -> None:
    policy, chance = Measured(), random.Random(1)
    policy.compress(ContentClass.FILE, chance.randbytes(10_000))
    assert policy.compress(ContentClass.RELATION, TEXT) is not None


def test_auto_changes_its_mind_when_the_content_does() -> None:
    policy, chance = Measured(), random.Random(1)
    policy.compress(ContentClass.FILE, chance.randbytes(1000))
    results = [policy.compress(ContentClass.FILE, TEXT) for _ in range(200)]
    assert results[0] is None
    assert results[-1] is not None


def test_auto_judges_each_large_file_apart() -> None:
    policy, chance = Measured(), random.Random(1)
    assert policy.compress(ContentClass.RELATION, chance.randbytes(10_000), b"base/5/1") is None
    assert policy.compress(ContentClass.RELATION, TEXT, b"base/5/1") is None
    assert policy.compress(ContentClass.RELATION, TEXT, b"base/5/2") is not None


@pytest.mark.parametrize(("seconds_a_step", "is_dear"), [(0.0, False), (1e-9, False), (1000.0, True)])
def test_auto_takes_a_dearer_method_only_where_it_saves_enough(
    monkeypatch: pytest.MonkeyPatch, seconds_a_step: float, is_dear: bool
) -> None:
    """Each candidate costs so much more than the one before it; the sizes are the true ones."""
    plain = Path(argparse.__file__).read_bytes()
    packed = [new_compressor(level, shortest).compress(plain) for level, shortest in ((-1, 0), (1, 0), (1, 5), (1, 4))]
    readings = iter([each for step in range(4) for each in (0.0, step * seconds_a_step)])
    monkeypatch.setattr(clock, "thread_cpu_s", lambda: next(readings))
    policy = Measured()
    policy.compress(ContentClass.FILE, plain)
    assert policy.compress(ContentClass.FILE, plain) == (packed[0] if is_dear else min(packed, key=len))


def test_a_method_is_the_level_that_it_names() -> None:
    plain = Path(argparse.__file__).read_bytes()
    for level in (-1, 1, 3, 19):
        assert new_compressor(level).compress(plain) == zstandard.ZstdCompressor(level=level).compress(plain)


@pytest.mark.parametrize("text", ["", "zstd", "zstd-0", "zstd-20", "zstd-1x", "gzip", "AUTO", "zstd--1"])
def test_other_names_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_compression(text)
    assert caught.value.hint
