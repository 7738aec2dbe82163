"""When the receiver stores what it has: soon enough that little can be lost, seldom enough that it costs little.

For a synchronous standby every commit waits, so what has come in is stored at once, and whatever arrives meanwhile
goes together into the next piece: group commit. Otherwise a piece is stored when the stream falls silent, and at the
latest when its first byte has waited for the interval; the silence of a steady trickle does not make more of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IDLE_S = 0.05
"""Nothing has come in for so long: the server has nothing more to say for now."""


@dataclass
class Rhythm:
    """Keeps the times, in seconds of ``clock.monotonic``; ``interval_s`` bounds how long a byte waits to be stored."""

    interval_s: float
    is_synchronous: bool
    _oldest_unstored: float | None = field(default=None, init=False)
    _last_received: float = field(default=float("-inf"), init=False)
    _last_stored: float = field(default=float("-inf"), init=False)

    def received(self, now: float) -> None:
        """Bytes have come in."""
        if self._oldest_unstored is None:
            self._oldest_unstored = now
        self._last_received = now

    def began_to_store(self, now: float) -> None:
        """All that has come in is on its way."""
        self._oldest_unstored, self._last_stored = None, now

    def due_at(self) -> float | None:
        """Return when to store; None while there is nothing to store."""
        if self._oldest_unstored is None:
            return None
        if self.is_synchronous:
            return self._oldest_unstored
        when_idle = max(self._last_received + IDLE_S, self._last_stored + self.interval_s)
        return min(self._oldest_unstored + self.interval_s, when_idle)
