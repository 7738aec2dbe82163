"""A crew does every job once, ends at the first failure, and does not work on when its pulse is lost."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

import pytest

from holdfast import clock
from holdfast.repository import crew
from holdfast.repository.crew import Crew

THREADS = 3


def no_worker_is_left() -> bool:
    """Return whether all threads end: the work of each is done, but its last instant may be still to come."""
    patience = clock.monotonic() + 60
    while threading.active_count() > 1 and clock.monotonic() < patience:
        clock.sleep(0.001)
    return threading.active_count() == 1


def crew_that_does(do, entered: list[str] | None = None) -> Crew[int]:
    """Return a crew whose workers call ``do``; ``entered`` notes each worker's beginning and end."""

    @contextmanager
    def worker():
        if entered is not None:
            entered.append("in")
        yield do
        if entered is not None:
            entered.append("out")

    return Crew("test", THREADS, worker)


def test_every_job_is_done_once_by_workers_that_are_left_in_order() -> None:
    done: list[int] = []
    entered: list[str] = []
    crew_that_does(done.append, entered).work_off(iter(range(1, 1000)))
    assert sorted(done) == list(range(1, 1000))
    assert entered.count("in") == entered.count("out") == THREADS
    assert no_worker_is_left()


def test_the_first_failure_ends_the_work_and_is_raised() -> None:
    done: list[int] = []

    def do(job: int) -> None:
        if job == 20:
            raise KeyError("twenty")
        done.append(job)

    with pytest.raises(KeyError, match="twenty"):
        crew_that_does(do).work_off(iter(range(1, 100_000)))
    assert len(done) < 99_000
    assert no_worker_is_left()


def test_a_failure_ends_the_wait_of_another_worker_for_jobs() -> None:
    released, waits = threading.Event(), threading.Event()
    was_released: list[bool] = []

    def jobs():
        yield 1
        waits.set()
        was_released.append(released.wait(10))

    def do(job: int) -> None:
        waits.wait()
        raise KeyError("one")

    with pytest.raises(KeyError, match="one"):
        crew_that_does(do).work_off(jobs(), give_up=released.set)
    assert was_released == [True]


def test_a_failing_stream_of_jobs_is_raised() -> None:
    def jobs():
        yield 1
        raise OSError("the scan broke")

    with pytest.raises(OSError, match="the scan broke"):
        crew_that_does(lambda job: None).work_off(jobs())


def test_a_lost_pulse_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_PULSE_EVERY_S", 0.01)
    done: list[int] = []

    def do(job: int) -> None:
        clock.sleep(0.002)
        done.append(job)

    def pulse() -> None:
        if len(done) > 10:
            raise ConnectionError("lost")

    with pytest.raises(ConnectionError, match="lost"):
        crew_that_does(do).work_off(iter(range(1, 100_000)), pulse)
    assert 10 < len(done) < 10_000
    assert no_worker_is_left()


def test_an_interruption_is_raised_when_no_worker_is_at_work_any_more() -> None:
    entered: list[str] = []

    def do(job: int) -> None:
        if job == 1:
            clock.sleep(0.1)  # until the caller waits
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        clock.sleep(0.5)

    with pytest.raises(KeyboardInterrupt):
        crew_that_does(do, entered).work_off(iter(range(1, 1000)))
    assert entered.count("in") == entered.count("out") == THREADS
