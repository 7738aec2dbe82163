"""Numbers as people read them: pinned examples, and properties for what must hold of every number."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli import text


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"),
        (3_400_000_000, "3.2 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_sizes(size_bytes: int, words: str):
    assert text.size(size_bytes) == words


@given(st.integers(1024, 2**59))
def test_a_size_in_words_is_within_a_twentieth_of_a_unit(size_bytes: int):
    number, unit = text.size(size_bytes).split()
    factor = 1024 ** (["KiB", "MiB", "GiB", "TiB", "PiB"].index(unit) + 1)
    assert abs(float(number) * factor - size_bytes) <= 0.0501 * factor
    assert float(number) < 1024


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.00 s"),
        (0.421, "0.42 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (11220, "3 h 07 min"),
        (187200, "2 d 04 h"),
    ],
)
def test_durations(seconds: float, words: str):
    assert text.duration(seconds) == words


def test_counts():
    assert text.count(1, "file") == "1 file"
    assert text.count(12345, "file") == "12,345 files"
    assert text.count(0, "repository", "repositories") == "0 repositories"


def test_an_instant_is_told_in_local_time_and_in_utc(monkeypatch):
    when = datetime(2026, 7, 1, 23, 30, 5, tzinfo=timezone(timedelta(hours=5)))
    stored = when.astimezone(UTC).isoformat()
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    in_berlin = text.instant(when), text.when(stored), text.local(stored)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    in_utc = text.instant(when), text.when(stored), text.local(stored)
    monkeypatch.undo()
    time.tzset()
    both = "2026-07-01 20:30:05 +0200 (2026-07-01 18:30:05 UTC)"
    assert in_berlin == (both, both, "2026-07-01 20:30:05")
    assert in_utc == ("2026-07-01 18:30:05 UTC", "2026-07-01 18:30:05 UTC", "2026-07-01 18:30:05")
