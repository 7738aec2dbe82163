"""Runs against plain sets of numbers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from holdfast.wal.runs import Runs

NUMBERS = st.sets(st.integers(0, 60))


def numbers_of(runs: Runs) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}


@given(NUMBERS)
def test_runs_hold_what_they_were_made_of(numbers):
    runs = Runs.of(sorted(numbers))
    assert numbers_of(runs) == numbers
    assert all(first > last + 1 for last, first in zip(runs.lasts, runs.firsts[1:], strict=False))
    assert all((number in runs) == (number in numbers) for number in range(-2, 64))


@given(NUMBERS, st.integers(0, 60))
def test_the_end_of_a_run_is_the_last_without_a_hole(numbers, start):
    expected = start
    while expected + 1 in numbers:
        expected += 1
    assert Runs.of(sorted(numbers)).end_of_run(start) == (expected if start in numbers else None)


@given(NUMBERS, st.integers(0, 60), st.integers(0, 60))
def test_what_is_missing_is_the_complement(numbers, first, last):
    holes = list(Runs.of(sorted(numbers)).missing(first, last))
    assert {n for begin, end in holes for n in range(begin, end + 1)} == set(range(first, last + 1)) - numbers
    assert all(begin > end + 1 for (_, end), (begin, _) in itertools.pairwise(holes))


@given(NUMBERS, st.integers(0, 60), st.integers(0, 20))
def test_joining_adds_a_range(numbers, first, length):
    joined = Runs.of(sorted(numbers)).joined(first, first + length)
    assert joined == Runs.of(sorted(numbers | set(range(first, first + length + 1))))


def test_a_hundred_thousand_segments_in_a_row_are_one_run():
    assert Runs.of(range(100_000)) == Runs((0,), (99_999,))
    assert list(Runs().missing(3, 5)) == [(3, 5)]
