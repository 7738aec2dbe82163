"""SeenChunks says what a Python set would say, across spills and from many threads."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.repository import seen
from holdfast.repository.seen import SeenChunks

# few values, many of them with zeros at the end, which numpy's own strings drop
ids = st.binary(max_size=2).map(lambda head: head.ljust(32, b"\0")) | st.binary(max_size=1).map(
    lambda tail: tail.rjust(32, b"\xff")
)


@given(batches=st.lists(st.lists(ids, max_size=8), max_size=40))
def test_it_is_a_set(batches: list[list[bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "_RECENT_LIMIT", 5)
        chunks, model = SeenChunks(), set[bytes]()
        for batch in batches:
            expected = []
            for chunk in batch:
                expected.append(chunk not in model)
                model.add(chunk)
            assert chunks.claim(batch) == expected


def test_of_many_threads_one_wins_each_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RECENT_LIMIT", 500)
    chunks, wins = SeenChunks(), [0] * 4
    every = [number.to_bytes(32, "big") for number in range(4000)]

    def claim(thread: int) -> None:
        for start, end in pairwise(range(0, 4001, 100)):
            wins[thread] += sum(chunks.claim(every[start:end]))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wins) == 4000
