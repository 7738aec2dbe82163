"""The only source of time: tests replace ``clock.now``, and nothing else in the code reads a clock."""

from __future__ import annotations

import time
from datetime import MAXYEAR, MINYEAR, UTC, datetime

from holdfast.errors import HoldfastError

_EARLIEST_S = datetime(MINYEAR + 1, 1, 1, tzinfo=UTC).timestamp()
_LATEST_S = datetime(MAXYEAR - 1, 1, 1, tzinfo=UTC).timestamp()
EARLIEST_PLAUSIBLE = datetime(2020, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


def parse_instant(text: str) -> datetime:
    """Return the aware instant that was stored as ISO 8601; ValueError when it is none that every zone can show."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or not MINYEAR < found.year < MAXYEAR:
        raise ValueError(f"not an instant: {text!r}")
    return found


def nearest_instant(seconds: float) -> datetime:
    """Return the instant (aware, UTC) of some seconds since 1970, as a file's time: it may lie beyond any calendar."""
    return datetime.fromtimestamp(min(max(seconds, _EARLIEST_S), _LATEST_S), UTC)


def in_utc(moment: datetime) -> str:
    """Return an aware instant as messages name it, to the second: ``2026-11-20 14:03:07 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def monotonic() -> float:
    """Return seconds since an arbitrary start; never goes back."""
    return time.monotonic()


def thread_cpu_s() -> float:
    """Return the seconds of CPU that this thread has used."""
    return time.thread_time()


def sleep(seconds: float) -> None:
    """Wait for a number of seconds."""
    time.sleep(seconds)


def require_plausible() -> None:
    """Raise HoldfastError when the clock is before 2020: snapshots would be stamped with a time that never was."""
    present = now()
    if present < EARLIEST_PLAUSIBLE:
        raise HoldfastError(
            f"the system clock says {present:%Y-%m-%d}, which cannot be",
            hint="set the clock (timedatectl set-ntp true), then try again",
        )
