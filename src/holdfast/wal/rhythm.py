"""When the receiver listens and stores: soon enough that little can be lost, seldom enough that it costs little.

For a synchronous standby every commit waits, so what has come in is stored at once, and whatever arrives meanwhile
goes together into the next piece: group commit. Where many commit at a time, a lull of some milliseconds lets more of
them share a piece; a session that commits alone would only wait for it, so it is told apart: nothing comes in while
its commit is stored. Otherwise a piece is stored when the stream falls silent, and at the latest when its first byte
has waited for the interval; the silence of a steady trickle does not make more of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IDLE_S = 0.05
"""Nothing has come in for so long: the server has nothing more to say for now."""
BREATH_S = 0.005
"""Between two looks at the server: a busy one sends many small messages, and waking for each costs most."""
LULL_S = 0.004
"""From one piece to the next where many commit: more commits a second than without, at half the CPU for each; longer
ones cost less and slow them down (benchmarks/README.md)."""
_CROWD_AFTER = 2
"""Pieces in a row: once may be chance, as the server's background writer speaks, too."""
_CROWD_LASTS_S = 0.5
_NEVER = float("-inf")


@dataclass
class Rhythm:
    """Keeps the times, in seconds of ``clock.monotonic``; ``interval_s`` bounds how long a byte waits to be stored."""

    interval_s: float
    is_synchronous: bool
    _oldest_unstored: float | None = field(default=None, init=False)
    _last_received: float = field(default=_NEVER, init=False)
    _last_stored: float = field(default=_NEVER, init=False)
    _is_storing: bool = field(default=False, init=False)
    _has_come_meanwhile: bool = field(default=False, init=False)
    _overlaps: int = field(default=0, init=False)
    _crowded_until: float = field(default=_NEVER, init=False)

    def received(self, now: float) -> None:
        """Bytes have come in."""
        if self._oldest_unstored is None:
            self._oldest_unstored = now
        self._last_received = now
        self._has_come_meanwhile |= self._is_storing

    def began_to_store(self, now: float) -> None:
        """All that has come in is on its way."""
        self._overlaps = self._overlaps + 1 if self._has_come_meanwhile else 0
        if self._overlaps >= _CROWD_AFTER:
            self._crowded_until = now + _CROWD_LASTS_S
        self._oldest_unstored, self._last_stored = None, now
        self._is_storing, self._has_come_meanwhile = True, False

    def has_stored(self) -> None:
        """Nothing is on its way any more."""
        self._is_storing = False

    def due_at(self) -> float | None:
        """Return when to store; None while there is nothing to store."""
        if self._oldest_unstored is None:
            return None
        if self.is_synchronous:
            return max(self._oldest_unstored, self._lull_until())
        when_idle = max(self._last_received + IDLE_S, self._last_stored + self.interval_s)
        return min(self._oldest_unstored + self.interval_s, when_idle)

    def listens_at(self) -> float:
        """Return when to look at the server again; what it says before can wait."""
        return self._lull_until() if self.is_synchronous else self._last_received + BREATH_S

    def _lull_until(self) -> float:
        is_crowded = self._last_stored < self._crowded_until
        return self._last_stored + LULL_S if is_crowded else _NEVER
