"""Fetches the segments that recovery will ask for next, so that replay never waits.

Guesses only: a segment that is not there, or cannot be fetched, is left for recovery to ask for, which then looks anew
and says what is wrong. So nothing is remembered of what was absent or incomplete.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from holdfast.storage.base import Buffer
    from holdfast.wal.handover import Handover
    from holdfast.wal.route import Route


@dataclass(frozen=True, slots=True)
class PrefetchLimits:
    """How far ahead: segments and bytes that may lie ready, and how many are fetched at a time."""

    segments: int = 16
    size_bytes: int = 256 << 20
    threads: int = 2

    def window(self, segment_size: int) -> int:
        """Return how many segments of a size may lie ready; at least one."""
        return max(1, min(self.segments, self.size_bytes // segment_size))


class Prefetcher:
    """Threads that keep a window of segments ready. ``fetch`` gives a segment that is whole, or raises."""

    def __init__(
        self, fetch: Callable[[str], Iterable[Buffer]], handover: Handover, route: Route, limits: PrefetchLimits
    ) -> None:
        """Start the threads; they are daemons, as one may wait long for a storage that is away."""
        self._fetch, self._handover, self._route = fetch, handover, route
        self._window = limits.window(route.segment_size)
        self._changed = threading.Condition()
        self._wanted: list[str] = []
        self._in_flight: set[str] = set()
        self._ready: set[str] = set()
        self._is_closed = False
        for number in range(min(limits.threads, self._window)):
            threading.Thread(target=self._work, name=f"prefetch-{number}", daemon=True).start()

    def advance(self, name: str) -> None:
        """Take note that recovery has a segment now; fetch what follows, drop what does not."""
        upcoming = self._route.after(name, self._window)
        with self._changed:
            dropped = self._ready - {*upcoming, name}
            self._ready -= {name, *dropped}
            self._wanted = [each for each in upcoming if each not in self._ready | self._in_flight]
            self._changed.notify_all()
        for each in dropped:
            self._handover.withdraw(each)

    def wait_for(self, name: str) -> None:
        """Return when a segment is not being fetched: it is ready, or was not on its way, or could not be had."""
        with self._changed:
            self._wanted = [each for each in self._wanted if each != name]
            self._changed.wait_for(lambda: name not in self._in_flight or self._is_closed)

    def close(self) -> None:
        """Begin nothing more; what is on its way is thrown away when it arrives."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._handover.publish(name, self._fetch(name))
            except HoldfastError:
                self._finish(name, is_ready=False)
            except BaseException:
                self.close()
                raise
            else:
                self._finish(name, is_ready=True)

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._is_closed)
            if self._is_closed:
                return None
            name = self._wanted.pop(0)
            self._in_flight.add(name)
            return name

    def _finish(self, name: str, *, is_ready: bool) -> None:
        with self._changed:
            self._in_flight.discard(name)
            if is_ready:
                self._ready.add(name)
            else:
                self._wanted = []  # what follows a hole is of no use; recovery will ask, and be told
            self._changed.notify_all()
