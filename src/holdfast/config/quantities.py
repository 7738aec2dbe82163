"""Sizes, rates and durations as people write them in the stack file: ``20MiB``, ``5m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from holdfast.config.base import Before, MistakeError, Written

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]i?B|B)")
_SIZE_UNITS: dict[str, int] = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", start=1)},
}
_SIZE_LIMIT = 1 << 63
_DURATION = re.compile(r"(?:([0-9]+)d)?(?: ?([0-9]+)h)?(?: ?([0-9]+)m)?(?: ?([0-9]+(?:\.[0-9]+)?)s)?")
_SIZE_PATTERN = r"^[0-9]+([.][0-9]+)? ?(B|[KMGT]iB|[kMGT]B)$"
_DURATION_PATTERN = r"^([0-9]+d)?( ?[0-9]+h)?( ?[0-9]+m)?( ?[0-9]+([.][0-9]+)?s)?$"


def parse_size(words: str) -> int:
    """Return a size in bytes: ``512KiB`` and its like count in 1024s, ``512kB`` in 1000s.

    Raises MistakeError when the words are no size above zero.
    """
    match = _SIZE.fullmatch(words)
    if match is None or match[2] not in _SIZE_UNITS:
        raise MistakeError(f"not a size: {words!r}", hint="write a number and its unit, such as 20MiB or 512KiB")
    exact_bytes = float(match[1]) * _SIZE_UNITS[match[2]]
    if exact_bytes >= _SIZE_LIMIT:
        raise MistakeError(f"too large a size: {words[:40]!r}")
    size_bytes = round(exact_bytes)
    if size_bytes < 1:
        raise MistakeError("a size must be above zero")
    return size_bytes


def parse_duration(words: str) -> timedelta:
    """Return a span of time: days, hours, minutes, seconds, in this order, each with its letter (``1h30m``).

    Raises MistakeError when the words are no span above zero.
    """
    match = _DURATION.fullmatch(words)
    if match is None or not any(match.groups()) or words.startswith(" "):
        raise MistakeError(f"not a duration: {words!r}", hint="write numbers with units, such as 90s, 5m or 1h30m")
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise MistakeError(f"too long a duration: {words[:40]!r}") from None
    if not span:
        raise MistakeError("a duration must be above zero")
    return span


def write_size(size_bytes: int) -> str:
    """Return a size as ``parse_size`` reads it, exactly, in the largest unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return f"{size_bytes}B"


def write_duration(span: timedelta) -> str:
    """Return a span as ``parse_duration`` reads it, exactly."""
    minutes, seconds = divmod(span.seconds, 60)
    parts = [(span.days, "d"), (minutes // 60, "h"), (minutes % 60, "m")]
    words = "".join(f"{number}{unit}" for number, unit in parts if number)
    if span.microseconds:
        return f"{words}{seconds}.{span.microseconds:06d}".rstrip("0") + "s"
    return f"{words}{seconds}s" if seconds or not words else words


def _size(value: object, _: Path) -> object:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool):
        raise MistakeError("a size needs a unit", hint=f"write {value}MiB, or {value}B for bytes")
    return value


def _duration(value: object, _: Path) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise MistakeError("a duration needs a unit", hint=f"write {value}s or {value}m")
    return value


_SIZE_SCHEMA = {"type": "string", "pattern": _SIZE_PATTERN, "examples": ["20MiB"]}
_DURATION_SCHEMA = {"type": "string", "pattern": _DURATION_PATTERN, "examples": ["5m", "1h30m"]}

Size = Annotated[int, Before(_size), Written(write_size, _SIZE_SCHEMA)]
"""Bytes."""

Rate = Size
"""Bytes per second."""

Duration = Annotated[timedelta, Before(_duration), Written(write_duration, _DURATION_SCHEMA)]
"""A span of time above zero."""
