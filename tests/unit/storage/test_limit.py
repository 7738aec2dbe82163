"""The allowance: the average is kept, by all threads together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import clock
from holdfast.storage.limit import Allowance, LimitedStorage
from holdfast.storage.memory import MemoryStorage

_FREE = Allowance(None)
_STEPS_S = [pytest.approx(number * 0.05) for number in range(1, 11)]


class StandingClock:
    """Time that goes on only when a test says so; remembers how long each caller was made to wait."""

    def __init__(self) -> None:
        self.present_s = 1000.0
        self.waits_s: list[float] = []


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    standing = StandingClock()
    monkeypatch.setattr(clock, "monotonic", lambda: standing.present_s)
    monkeypatch.setattr(clock, "sleep", standing.waits_s.append)
    return standing


@pytest.mark.parametrize("threads", [1, 4])
def test_uploads_of_all_threads_share_one_rate(time: StandingClock, threads: int):
    storage = LimitedStorage(MemoryStorage(), up=Allowance(1_000_000), down=_FREE)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda number: storage.put(f"n{number}", bytes(50_000)), range(11)))
    assert sorted(time.waits_s) == _STEPS_S  # each waits until those before it are paid for


@pytest.mark.parametrize("length", [None, 50_000])
def test_downloads_share_one_rate_and_uploads_another(time: StandingClock, length: int | None):
    storage = LimitedStorage(MemoryStorage(), up=_FREE, down=Allowance(1_000_000))
    storage.put("one", bytes(50_000))
    for _ in range(11):
        storage.get("one", length=length)
    assert time.waits_s == _STEPS_S


def test_time_that_was_not_used_is_not_saved_up(time: StandingClock):
    allowance = Allowance(1_000_000)
    time.present_s += 0.2
    allowance.take(100_000)
    allowance.take(100_000)
    assert time.waits_s == [pytest.approx(0.1)]
