"""Progress: a live line on a terminal, a line every ten seconds elsewhere, JSON once a second for programs."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.cli.output import write_message
from holdfast.cli.standing import Standing, sentence
from holdfast.cli.text import harmless
from holdfast.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.progress import Reporter

LINE_EVERY_S = 10.0
MESSAGE_EVERY_S = 1.0
LIVE_EVERY_S = 0.1


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
    """JSON messages on standard output: ``progress``, ``notice``, ``warning``.

    Where it is full they are lost, and the work goes on: the result, which must be written, is still to come.
    """

    def standing(self, standing: Standing) -> None:
        """Print one ``progress`` message."""
        with suppress(OutputError):
            write_message("progress", standing)

    def notice(self, words: str) -> None:
        """Print one ``notice`` message."""
        with suppress(OutputError):
            write_message("notice", {"text": words})

    def warning(self, words: str) -> None:
        """Print one ``warning`` message."""
        with suppress(OutputError):
            write_message("warning", {"text": words})


class LineDisplay:
    """Lines on standard error, for logs."""

    def standing(self, standing: Standing) -> None:
        """Print one line."""
        self.notice(sentence(standing))

    def notice(self, words: str) -> None:
        """Print the remark."""
        print(harmless(words), file=sys.stderr, flush=True)  # noqa: T201

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


@contextmanager
def reporting_json() -> Iterator[Reporter]:
    """Yield a Reporter for programs."""
    yield PacedReporter(JsonDisplay(), every_s=MESSAGE_EVERY_S)


@contextmanager
def reporting_warnings() -> Iterator[Reporter]:
    """Yield a Reporter that shows nothing else."""
    yield PacedReporter(WarningsDisplay(), every_s=LINE_EVERY_S)


@contextmanager
def reporting_text() -> Iterator[Reporter]:
    """Yield a Reporter for people: a live line on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        from holdfast.cli.terminal import TerminalDisplay

        with TerminalDisplay() as display:
            yield PacedReporter(display, every_s=LIVE_EVERY_S)
    else:
        yield PacedReporter(LineDisplay(), every_s=LINE_EVERY_S)
