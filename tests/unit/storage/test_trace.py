"""The tally: every request of every thread, with its bytes and its time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.errors import NotFoundError
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.trace import Tally, TracedStorage, Verb


def test_requests_bytes_and_failures_are_counted_by_verb():
    tally = Tally()
    storage = TracedStorage(MemoryStorage(), tally)
    storage.put("a/one", bytes(1000))
    storage.put("a/two", memoryview(bytes(400)).cast("I"))
    storage.get("a/one", offset=10, length=20)
    with pytest.raises(NotFoundError):
        storage.get("absent")
    assert len(list(storage.list("a"))) == 2
    storage.stat("a/one")
    storage.delete("a/one")
    counts = tally.snapshot()
    assert {verb: (c.requests, c.failures, c.moved_bytes, c.listed) for verb, c in counts.items()} == {
        Verb.PUT: (2, 0, 1400, 0),
        Verb.GET: (2, 1, 20, 0),
        Verb.LIST: (1, 0, 0, 2),
        Verb.DELETE: (1, 0, 0, 0),
        Verb.STAT: (1, 0, 0, 0),
    }
    assert all(count.elapsed_s > 0 for count in counts.values())


def test_a_snapshot_stays_as_it_was():
    tally = Tally()
    storage = TracedStorage(MemoryStorage(), tally)
    before = tally.snapshot()
    storage.put("one", b"x")
    assert before[Verb.PUT].requests == 0
    assert tally.snapshot()[Verb.PUT].requests == 1


def test_no_count_is_lost_between_threads():
    tally = Tally()
    storage = TracedStorage(MemoryStorage(), tally)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: storage.put(f"n{number}", b"12345"), range(2000)))
    put = tally.snapshot()[Verb.PUT]
    assert (put.requests, put.moved_bytes) == (2000, 10_000)
