"""Ctrl-C at any point must leave nothing behind.

The first interruption begins the tidying up, and a second one must not cut that short. What may not be cut in half
(between the start of a process and the moment when somebody knows of it) holds even the first one back for its time.
Handlers are replaced, not signals blocked: children would inherit a mask.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def one_interruption_at_most() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT, SIGTERM or SIGHUP in the block, and ignore those that follow."""

    def interrupt(*_: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def interruptions_held_back() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block has ended; then one of them is raised as usual."""
    came: list[int] = []

    def note(number: int, *_: object) -> None:
        came.append(number)

    with _handled_by(note):
        yield
    if came:
        signal.raise_signal(came[0])


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that are not ignored; a thread that is not the main one never receives any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = {number: former for number, former in before.items() if former is not signal.SIG_IGN}
    try:
        for number in taken:
            signal.signal(number, handler)
        yield
    finally:
        for number, former in taken.items():
            signal.signal(number, former)
