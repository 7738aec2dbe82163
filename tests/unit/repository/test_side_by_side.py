"""What is fetched side by side comes in order, and none waits for the one before it."""

from __future__ import annotations

import threading

import pytest

from holdfast.repository.side_by_side import side_by_side


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_everything_comes_in_order(count: int) -> None:
    assert side_by_side(str, range(count)) == [str(number) for number in range(count)]


def test_two_are_on_their_way_at_once() -> None:
    company = threading.Barrier(2, timeout=60)
    assert sorted(side_by_side(lambda _: company.wait(), "ab")) == [0, 1]


@pytest.mark.parametrize("wanted", ["a", "ab"])
def test_a_failure_is_raised(wanted: str) -> None:
    def fetch(name: str) -> None:
        raise KeyError(name)

    with pytest.raises(KeyError, match="a"):
        side_by_side(fetch, wanted)
