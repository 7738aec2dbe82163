"""Sizes and durations: exact both ways, and nothing that is not one passes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config.quantities import parse_duration, parse_size, write_duration, write_size


@pytest.mark.parametrize(
    ("words", "size_bytes"),
    [
        ("1B", 1),
        ("512KiB", 524288),
        ("20 MiB", 20971520),
        ("1.5MB", 1500000),
        ("512kB", 512000),
        ("2TiB", 2 << 40),
        ("0.5KiB", 512),
    ],
)
def test_sizes(words: str, size_bytes: int):
    assert parse_size(words) == size_bytes


@pytest.mark.parametrize(
    "words",
    ["", "20", "MiB", "-1MiB", "20mib", "1e3B", "kiB", "1kiB", "1KB", "0B", "0.1B", "\u0661B", "1MiB "],
)
def test_what_is_no_size(words: str):
    with pytest.raises(ValueError, match="size"):
        parse_size(words)


@given(st.integers(1, 2**62))
def test_a_size_is_written_as_it_is_read(size_bytes: int):
    words = write_size(size_bytes)
    assert parse_size(words) == size_bytes or size_bytes > 2**53


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1d 2h 3m 4s", 93784),
        ("0.5s", 0.5),
        ("1m0.25s", 60.25),
    ],
)
def test_durations(words: str, seconds: float):
    assert parse_duration(words) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "words", ["", "5", "m", "5M", "-5m", "5m1h", "1.5h", "0s", "0h0m", "5 minutes", "9999999999d", "5m "]
)
def test_what_is_no_duration(words: str):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(words)


@given(st.timedeltas(timedelta(microseconds=1), timedelta(days=100_000)))
def test_a_duration_is_written_as_it_is_read(span: timedelta):
    assert parse_duration(write_duration(span)) == span


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(words: str):
    for parse in (parse_size, parse_duration):
        try:
            parse(words)
        except ValueError:
            continue
