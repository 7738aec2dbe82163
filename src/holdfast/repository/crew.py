"""Several threads that work off one stream of jobs: the first failure ends them all, and is raised to the caller.

Jobs are taken under a lock, one at a time: there is no queue to bound. The calling thread waits; every few seconds it
calls a *pulse*, which raises when something that the work depends on is lost (a connection, say). That, or a signal,
stops the threads after their present job.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Job = TypeVar("Job")

_PULSE_EVERY_S = 10.0


def no_pulse() -> None:
    """Nothing must stay true, and nobody need be told."""


class Crew(Generic[Job]):
    """``make_worker`` is entered in each thread, for what that thread alone may use, and gives what does one job."""

    def __init__(
        self, name: str, threads: int, make_worker: Callable[[], AbstractContextManager[Callable[[Job], None]]]
    ) -> None:
        self._make_worker = make_worker
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        self._is_stopping = False
        self._names = [f"{name}-{number}" for number in range(threads)]

    def work_off(
        self, jobs: Iterator[Job], pulse: Callable[[], None] = no_pulse, give_up: Callable[[], None] = no_pulse
    ) -> None:
        """Do all jobs, once; return when they are done, or raise what ended the work early.

        ``give_up`` makes ``jobs`` end where they are waited for: it is called, from any thread, when a pulse, a signal
        or a failed job ends the work.
        """
        threads = [Thread(lambda: self._work(jobs, give_up), name) for name in self._names]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while not thread.wait(_PULSE_EVERY_S):
                    pulse()
        except BaseException:
            give_up()
            raise
        finally:
            self._is_stopping = True
            for thread in threads:
                thread.wait()
        if self._failures:
            raise self._failures[0]

    def _work(self, jobs: Iterator[Job], give_up: Callable[[], None]) -> None:
        try:
            with self._make_worker() as do:
                while (job := self._next(jobs)) is not None:
                    do(job)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, and raised there
            self._failures.append(error)  # without the lock: another worker may hold it, and wait for a job
            give_up()

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        with self._lock:
            return None if self._failures or self._is_stopping else next(jobs, None)
