"""Ending a command that runs for ever: the first signal asks it to finish, the second one does not ask.

Ctrl-C is a person's, and ends with 130 as everywhere; SIGTERM is how a service manager ends what has done nothing
wrong, and gives 0.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

from holdfast.errors import InterruptedRunError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopOnSignal:
    """A context manager; within it, SIGINT, SIGTERM and SIGHUP (unless ignored) only set it."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Take over the signals."""
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._event)

    @property
    def is_set(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    def fileno(self) -> int:
        """Readable as soon as a signal has come."""
        return self._event

    def require_uninterrupted(self) -> None:
        """Raise InterruptedRunError when it was Ctrl-C."""
        if self._received == signal.SIGINT:
            raise InterruptedRunError("interrupted; what was received is stored")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise KeyboardInterrupt
        self._received = number
        os.eventfd_write(self._event, 1)
