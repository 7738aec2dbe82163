"""Progress: a live line on a terminal, a line every ten seconds elsewhere, JSON once a second for programs."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.cli import text
from holdfast.cli.output import write_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.cli.invocation import Invocation
    from holdfast.progress import Reporter

LINE_EVERY_S = 10.0
MESSAGE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the present phase has come; the payload of the JSON message ``progress``."""

    phase: str
    done_bytes: int
    total_bytes: int | None
    elapsed_s: float
    bytes_per_s: float
    remaining_s: float | None


class Display(Protocol):
    """One way to show what a PacedReporter passes on; called under its lock, so never by two threads at once."""

    def standing(self, standing: Standing) -> None:
        """Show how far the work has come."""
        ...

    def notice(self, words: str) -> None:
        """Show a remark."""
        ...

    def warning(self, words: str) -> None:
        """Show a warning."""
        ...


class PacedReporter:
    """A Reporter that adds up what many threads report, and passes it on to a Display at a bounded pace."""

    def __init__(self, display: Display, *, every_s: float) -> None:
        self._display = display
        self._every_s = every_s
        self._lock = threading.Lock()
        self._phase = ""
        self._total_bytes: int | None = None
        self._done_bytes = 0
        self._began_s = self._shown_s = clock.monotonic()

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Begin a phase; shown at once."""
        with self._lock:
            self._phase, self._total_bytes, self._done_bytes = name, total_bytes, 0
            self._began_s = clock.monotonic()
            self._show(self._began_s)

    def advance(self, done_bytes: int) -> None:
        """Add to what is done; shown when the last showing is long enough ago."""
        with self._lock:
            self._done_bytes += done_bytes
            present_s = clock.monotonic()
            if present_s - self._shown_s >= self._every_s:
                self._show(present_s)

    def notice(self, text: str) -> None:
        """Pass on a remark."""
        with self._lock:
            self._display.notice(text)

    def warning(self, text: str) -> None:
        """Pass on a warning."""
        with self._lock:
            self._display.warning(text)

    def _show(self, present_s: float) -> None:
        self._shown_s = present_s
        elapsed_s = present_s - self._began_s
        speed = self._done_bytes / elapsed_s if elapsed_s > 0 else 0.0
        left_bytes = None if self._total_bytes is None else max(0, self._total_bytes - self._done_bytes)
        remaining_s = left_bytes / speed if left_bytes is not None and speed > 0 else None
        self._display.standing(
            Standing(
                phase=self._phase,
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                elapsed_s=round(elapsed_s, 3),
                bytes_per_s=round(speed, 1),
                remaining_s=None if remaining_s is None else round(remaining_s, 1),
            )
        )


class JsonDisplay:
    """JSON messages on standard output: ``progress``, ``notice``, ``warning``."""

    def standing(self, standing: Standing) -> None:
        """Print one ``progress`` message."""
        write_message("progress", standing)

    def notice(self, words: str) -> None:
        """Print one ``notice`` message."""
        write_message("notice", {"text": words})

    def warning(self, words: str) -> None:
        """Print one ``warning`` message."""
        write_message("warning", {"text": words})


class LineDisplay:
    """Lines on standard error, for logs."""

    def standing(self, standing: Standing) -> None:
        """Print one line."""
        self.notice(sentence(standing))

    def notice(self, words: str) -> None:
        """Print the remark."""
        print(words, file=sys.stderr, flush=True)  # noqa: T201

    def warning(self, words: str) -> None:
        """Print the warning, marked as one."""
        self.notice(f"warning: {words}")


class WarningsDisplay(LineDisplay):
    """Lines on standard error, for ``-q``: warnings only."""

    def standing(self, standing: Standing) -> None:
        """Show nothing."""

    def notice(self, words: str) -> None:
        """Show nothing."""

    def warning(self, words: str) -> None:
        """Print the warning."""
        super().notice(f"warning: {words}")


def sentence(standing: Standing) -> str:
    """Return a standing in words: ``copying files: 1.2 GiB of 3.4 GiB (35%), 410.0 MiB/s, 5.40 s left``.

    A phase that has just begun has no speed yet: ``copying files: 3.4 GiB``.
    """
    if not standing.done_bytes:
        return f"{standing.phase}: {text.size(standing.total_bytes)}" if standing.total_bytes else standing.phase
    words = f"{standing.phase}: {text.size(standing.done_bytes)}"
    if standing.total_bytes:
        share = min(1.0, standing.done_bytes / standing.total_bytes)
        words += f" of {text.size(standing.total_bytes)} ({share:.0%})"
    words += f", {text.rate(standing.bytes_per_s)}"
    if standing.remaining_s is not None:
        words += f", {text.duration(standing.remaining_s)} left"
    return words


@contextmanager
def open_reporter(invocation: Invocation) -> Iterator[Reporter]:
    """Yield the Reporter that suits this run."""
    if invocation.json:
        yield PacedReporter(JsonDisplay(), every_s=MESSAGE_EVERY_S)
    elif invocation.quiet:
        yield PacedReporter(WarningsDisplay(), every_s=LINE_EVERY_S)
    elif sys.stderr.isatty():
        from holdfast.cli.terminal import TerminalDisplay

        with TerminalDisplay() as display:
            yield PacedReporter(display, every_s=0.1)
    else:
        yield PacedReporter(LineDisplay(), every_s=LINE_EVERY_S)
