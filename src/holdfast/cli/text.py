"""Numbers and instants as people read them. JSON output never comes through here: it gives exact values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\t\n"}
_SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def harmless(words: str) -> str:
    """Return words without what would command a terminal; line ends and tabs stay.

    Labels, tags and the names of hosts come from the repository, where every host that backs up may write.
    """
    return words if words.isprintable() else words.translate(_CONTROLS)


def size(size_bytes: float) -> str:
    """Return a size with one decimal in the unit that suits it: ``512 B``, ``1.5 MiB``."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes:.0f} B"
    value, unit = size_bytes / 1024, _SIZE_UNITS[0]
    for larger in _SIZE_UNITS[1:]:
        if abs(value) < 1023.95:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"


def rate(bytes_per_s: float) -> str:
    """Return a speed: ``120.4 MiB/s``."""
    return f"{size(bytes_per_s)}/s"


def duration(seconds: float) -> str:
    """Return a span of time in about three digits: ``0.42 s``, ``4 min 05 s``, ``3 h 07 min``, ``2 d 04 h``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24:02d} h"


def instant(moment: datetime) -> str:
    """Return an aware instant in local time and, in brackets, in UTC (only once where they are the same)."""
    from datetime import UTC

    local, universal = moment.astimezone(), moment.astimezone(UTC)
    if local.utcoffset() == universal.utcoffset():
        return f"{universal:%Y-%m-%d %H:%M:%S} UTC"
    return f"{local:%Y-%m-%d %H:%M:%S %z} ({universal:%Y-%m-%d %H:%M:%S} UTC)"


def when(stored: str) -> str:
    """Return what was stored as ISO 8601 as ``instant`` shows it."""
    from datetime import datetime

    return instant(datetime.fromisoformat(stored))


def local(stored: str) -> str:
    """Return what was stored as ISO 8601 in local time alone, as a table has room for."""
    from datetime import datetime

    return f"{datetime.fromisoformat(stored).astimezone():%Y-%m-%d %H:%M:%S}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 file``, ``12,345 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
