"""What long work says while it runs: the rooms call a Reporter, the CLI and the web page show it."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives progress. Every method may be called from many threads at once, and returns quickly."""

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Begin a phase of the work ("copying files"); ``total_bytes`` is what ``advance`` will add up to."""
        ...

    def advance(self, done_bytes: int) -> None:
        """Add to what is done of the present phase."""
        ...

    def notice(self, text: str) -> None:
        """Say something worth knowing that is not a fault."""
        ...

    def warning(self, text: str) -> None:
        """Say something that the operator should look into."""
        ...


class Silence:
    """The Reporter that shows nothing."""

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Ignore it."""

    def advance(self, done_bytes: int) -> None:
        """Ignore it."""

    def notice(self, text: str) -> None:
        """Ignore it."""

    def warning(self, text: str) -> None:
        """Ignore it."""
