"""Repeating: what is tried again, for how long, and when "already there" means "stored by the attempt before"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast import clock
from holdfast.errors import (
    AlreadyExistsError,
    NotFoundError,
    PermissionRefusedError,
    StorageError,
    TransientStorageError,
)
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.retry import RetryingStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer, ObjectInfo


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.present_s = 1000.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.present_s

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.present_s += seconds


class Failing(MemoryStorage):
    """Fails ``failures`` times with ``error``: before it did what was asked, or after."""

    def __init__(self, failures: int, error: StorageError | None = None, *, answer_is_lost: bool = False) -> None:
        super().__init__()
        self.failures = failures
        self.calls = 0
        self._error = error or TransientStorageError("the network is down", hint="wait")
        self._answer_is_lost = answer_is_lost

    def fail(self, when: bool) -> None:
        self.calls += not when
        if when == self._answer_is_lost and self.failures > 0:
            self.failures -= 1
            raise self._error

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        self.fail(False)
        super().put(name, data, must_not_exist=must_not_exist)
        self.fail(True)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        self.fail(False)
        return super().get(name, offset=offset, length=length)

    def delete(self, name: str) -> None:
        self.fail(False)
        super().delete(name)
        self.fail(True)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        for number, info in enumerate(super().list(prefix, after=after)):
            if number == 3:
                self.fail(False)
            yield info


@pytest.fixture
def time(monkeypatch) -> Time:
    """The clock of the test."""
    made = Time()
    monkeypatch.setattr(clock, "monotonic", made.monotonic)
    monkeypatch.setattr(clock, "sleep", made.sleep)
    return made


def test_what_may_pass_is_tried_again(time: Time):
    inner = Failing(4)
    storage = RetryingStorage(inner, 60)
    storage.put("one", b"x")
    inner.failures = 2
    assert storage.get("one") == b"x"
    inner.failures = 2
    storage.delete("one")
    assert len(time.sleeps) == 8


@pytest.mark.parametrize("error", [StorageError("broken"), PermissionRefusedError("no"), NotFoundError("gone")])
def test_what_cannot_pass_is_not_tried_again(time: Time, error: StorageError):
    inner = Failing(1, error)
    with pytest.raises(type(error)) as caught:
        RetryingStorage(inner, 60).put("one", b"x")
    assert caught.value is error
    assert (inner.calls, time.sleeps) == (1, [])


def test_the_deadline_counts_from_the_first_failure(time: Time):
    inner = Failing(10**9)
    begin = time.present_s
    with pytest.raises(TransientStorageError, match=r"the network is down \(given up after \d+ attempts") as caught:
        RetryingStorage(inner, 30).get("one")
    assert 15 <= time.present_s - begin <= 30
    assert caught.value.hint == "wait"
    assert inner.calls == len(time.sleeps) + 1


def test_a_deadline_of_nothing_means_one_attempt(time: Time):
    inner = Failing(1)
    with pytest.raises(TransientStorageError):
        RetryingStorage(inner, 0).get("one")
    assert inner.calls == 1


def test_waits_grow_differ_and_stay_bounded(time: Time):
    for _ in range(20):
        with pytest.raises(TransientStorageError):
            RetryingStorage(Failing(10**9), 200).get("one")
    assert max(time.sleeps) <= 10.0
    assert len(set(time.sleeps)) > len(time.sleeps) / 2
    assert time.sleeps[0] <= 0.1


def test_a_put_whose_answer_was_lost_is_a_success(time: Time):
    inner = Failing(1, answer_is_lost=True)
    RetryingStorage(inner, 60).put("one", memoryview(b"our bytes"))
    assert inner.calls == 3  # the put, the put again, and the get that compares
    assert inner.get("one") == b"our bytes"


@pytest.mark.parametrize("theirs", [b"other byte", b"longer than ours", b""])
def test_a_name_that_another_took_meanwhile_is_refused(time: Time, theirs: bytes):
    inner = Failing(1)
    real_fail = inner.fail

    def fail_and_let_another_write(when: bool) -> None:
        if inner.failures:
            MemoryStorage.put(inner, "one", theirs)
        real_fail(when)

    inner.fail = fail_and_let_another_write  # type: ignore[method-assign]
    with pytest.raises(AlreadyExistsError):
        RetryingStorage(inner, 60).put("one", b"our bytes!")
    assert bytes(inner.get("one")) == theirs


def test_a_taken_name_is_refused_without_a_failure_even_if_the_bytes_are_the_same(time: Time):
    storage = RetryingStorage(MemoryStorage(), 60)
    storage.put("one", b"x")
    with pytest.raises(AlreadyExistsError):
        storage.put("one", b"x")


def test_a_listing_goes_on_where_it_failed(time: Time):
    inner = Failing(2)
    for number in range(9):
        MemoryStorage.put(inner, f"n{number}", b"x")
    assert [info.name for info in RetryingStorage(inner, 60).list()] == [f"n{number}" for number in range(9)]
    assert len(time.sleeps) == 2


def test_fault_21_a_listing_that_goes_on_failing_raises(time: Time):
    inner = Failing(10**9)
    for number in range(9):
        MemoryStorage.put(inner, f"n{number}", b"x")
    seen: list[str] = []
    with pytest.raises(TransientStorageError):
        seen.extend(info.name for info in RetryingStorage(inner, 60).list())


def test_what_a_lost_answer_left_is_compared_in_parts(time: Time):
    """An object may have a gigabyte: fetched whole, it would be in memory beside what was sent."""
    asked: list[int | None] = []

    class Asked(Failing):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
            asked.append(length)
            return super().get(name, offset=offset, length=length)

    inner = Asked(1, answer_is_lost=True)
    data = bytes(40 << 20)
    RetryingStorage(inner, 60).put("one", data)
    assert sum(length or 0 for length in asked) == len(data)
    assert max(length or len(data) for length in asked) <= 16 << 20
    other = Failing(1)
    MemoryStorage.put(other, "one", data[:-1] + b"?")
    with pytest.raises(AlreadyExistsError):
        RetryingStorage(other, 60).put("one", data)
