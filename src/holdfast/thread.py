"""A thread that whoever started it can wait for, whatever breaks in.

Before Python 3.13 a ``threading.Thread.join`` that a signal breaks off takes the thread for ended (gh-90882): the next
one returns at once, and what the thread works with would be closed under its hands. So its end is told by an event.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False  # see holdfast.wal.early: importing it from typing takes eight milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable


class Thread:
    """Does one thing beside its caller; does not keep the process from ending."""

    def __init__(self, do: Callable[[], None], name: str) -> None:
        """``do`` raises nothing: there is nobody to raise it to."""
        self._do = do
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._has_ended = threading.Event()
        self._has_ended.set()

    def start(self) -> None:
        """Begin, once. RuntimeError where the system gives no more threads."""
        self._has_ended.clear()
        try:
            self._thread.start()
        except RuntimeError:
            self._has_ended.set()
            raise

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return, after so long at the latest, whether it has ended; one that was never started has."""
        return self._has_ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            self._do()
        finally:
            self._has_ended.set()
