"""How SIGINT, SIGTERM and SIGHUP end a run in order, whenever they come: with one error, never with a traceback.

A signal is a KeyboardInterrupt for the main thread, as Ctrl-C is in Python, but only while a command is at work; what
comes before waits for that, and what comes after changes nothing any more. It also waits where an exception would
break something that is not ours: an import half done is never done again, extension modules turn it into errors of
their own, and a lock taken just then is never given back. Where Python cannot raise an exception (in what runs when
an object is deleted) it prints it and goes on; here the interruption comes once more instead.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from holdfast import clock
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType
    from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ONE_INTERRUPTION_S = 1.0
"""Signals that come together mean one thing: Ctrl-C reaches a whole group, and what started us may pass it on too."""

_AGAIN_AFTER_S = 0.005
_UNCUT = frozenset(
    method.__code__ for method in (threading.Thread.start, threading.Condition.__enter__, threading.Condition.__exit__)
)
_IMPORTING = "<frozen importlib"
_AT_ONCE = b"error: interrupted twice; ended at once\nHINT: run the same command again; it finds what was left behind\n"
_SHOW_CURSOR = b"\033[?25h"


class Interruption:
    """A context manager that takes the three signals over, unless they are ignored (nohup), and gives them back.

    The first interruption is raised within ``raised()``; the tidying up that this begins is not cut short by what
    comes shortly after. Who interrupts again later does not want to wait: the process ends where it is, as a crash
    would end it, with the same exit code.
    """

    def __init__(self) -> None:
        self._came_s: float | None = None
        self._is_raising = False
        self._was_raised = False
        self._before: dict[int, signal._HANDLER] = {}
        self._unraisable_before = sys.unraisablehook

    def __enter__(self) -> Self:
        """Take the signals over; until ``raised()`` they are only noted."""
        self._unraisable_before, sys.unraisablehook = sys.unraisablehook, self._raise_later
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handle(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, before in self._before.items():
            signal.signal(number, before)
        sys.unraisablehook = self._unraisable_before

    @property
    def has_come(self) -> bool:
        """Whether there was one: an error that nobody understands may come of it then."""
        return self._came_s is not None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise KeyboardInterrupt in the block for a signal that comes in it or has come already."""
        try:
            self._is_raising = True
            if self.has_come:
                self._raise(sys._getframe())  # noqa: SLF001 - public in all but its name
            yield
        finally:
            self._is_raising = False

    def _handle(self, number: int, handler: signal._HANDLER) -> None:
        self._before.setdefault(number, signal.getsignal(number))
        signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        present_s = clock.monotonic()
        if self._came_s is None:
            self._came_s = present_s
            self._raise(frame)
        elif present_s - self._came_s > _ONE_INTERRUPTION_S:
            _end_at_once()

    def _raise(self, frame: FrameType | None) -> None:
        if not self._is_raising or self._was_raised:
            return
        if _is_uncut(frame):
            self._try_again()
        else:
            self._was_raised = True
            raise KeyboardInterrupt

    def _try_again(self) -> None:
        # An alarm, not a thread: what was interrupted may hold a lock that starting a thread takes.
        self._handle(signal.SIGALRM, lambda _, frame: self._raise(frame))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER_S)

    def _raise_later(self, unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._was_raised = False
            self._try_again()
        else:
            self._unraisable_before(unraisable)


def _is_uncut(frame: FrameType | None) -> bool:
    """Whether an exception here would break what is not ours."""
    while frame is not None:
        if frame.f_code in _UNCUT or frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False


def _end_at_once() -> NoReturn:
    with suppress(OSError):  # the terminal may be gone
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # the live line of the progress hides it
        os.write(2, _AT_ONCE)
    os._exit(ExitCode.INTERRUPTED)
