"""The allowance: the average is kept, by all threads together."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.storage.limit import Allowance, LimitedStorage
from holdfast.storage.memory import MemoryStorage

_FREE = Allowance(None)


@pytest.mark.parametrize("threads", [1, 4])
def test_uploads_of_all_threads_share_one_rate(threads: int):
    storage = LimitedStorage(MemoryStorage(), up=Allowance(1_000_000), down=_FREE)
    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda number: storage.put(f"n{number}", bytes(50_000)), range(11)))
    # The first ten are paid for before the last may begin.
    assert 0.49 <= time.monotonic() - begin < 2.0


@pytest.mark.parametrize("length", [None, 50_000])
def test_downloads_share_one_rate_and_uploads_another(length: int | None):
    storage = LimitedStorage(MemoryStorage(), up=_FREE, down=Allowance(1_000_000))
    begin = time.monotonic()
    storage.put("one", bytes(50_000))
    assert time.monotonic() - begin < 0.1
    for _ in range(11):
        storage.get("one", length=length)
    assert 0.49 <= time.monotonic() - begin < 2.0


def test_time_that_was_not_used_is_not_saved_up():
    allowance = Allowance(1_000_000)
    time.sleep(0.2)
    begin = time.monotonic()
    allowance.take(100_000)
    allowance.take(100_000)
    assert time.monotonic() - begin >= 0.099
