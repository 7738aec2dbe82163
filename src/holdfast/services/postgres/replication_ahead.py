"""Reads a base backup ahead of those who store it, by a thread of its own.

A server's local socket holds 208 KiB, kernel's structures included: whenever nobody reads, the server stands still at
once. So who reads does nothing else.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from holdfast.repository.intake import Task

_AHEAD: Final = 2
"""How many tasks wait at most: each may hold a span in memory."""
_WAKE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _End:
    failure: BaseException | None


class TasksAhead:
    """An iterator of tasks that are made beside those who take them, as a context manager.

    What ends the making early is raised to whoever asks for the next task, one thread at a time.
    """

    def __init__(self, tasks: Iterator[Task], give_up: Callable[[], None]) -> None:
        """``give_up`` makes ``tasks`` end early: it is called from another thread when nobody wants more of them."""
        self._tasks, self._give_up = tasks, give_up
        self._ready: queue.Queue[Task | _End] = queue.Queue(_AHEAD)
        self._is_wanted = True
        self._thread = Thread(self._make, "receive")

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the thread has ended; after a failure it is told to."""
        if kind is not None:
            self._is_wanted = False
            self._give_up()
        while not self._thread.wait(0):
            with suppress(queue.Empty):
                self._ready.get(timeout=_WAKE_S)

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Task:
        """Wait for the next task."""
        ready = self._ready.get()
        if not isinstance(ready, _End):
            return ready
        self._ready.put(ready)
        if ready.failure is not None:
            raise ready.failure
        raise StopIteration

    def _make(self) -> None:
        failure: BaseException | None = None
        try:
            for task in self._tasks:
                self._ready.put(task)
                if not self._is_wanted:
                    break
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks, and raised there
            failure = error
        self._ready.put(_End(failure))
