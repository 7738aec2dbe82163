"""Sizes, rates and durations as people write them in the stack file: ``20MiB``, ``5m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from holdfast.config.base import mistake

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

    Raises PydanticCustomError, which is a ValueError, when the words are no size above zero.
    """
    match = _SIZE.fullmatch(words)
    if match is None or match[2] not in _SIZE_UNITS:
        raise mistake(f"not a size: {words!r}", hint="write a number and its unit, such as 20MiB or 512KiB")
    exact_bytes = float(match[1]) * _SIZE_UNITS[match[2]]
    if exact_bytes >= _SIZE_LIMIT:
        raise mistake(f"too large a size: {words[:40]!r}")
    size_bytes = round(exact_bytes)
    if size_bytes < 1:
        raise mistake("a size must be above zero")
    return size_bytes


def parse_duration(words: str) -> timedelta:
    """Return a span of time: days, hours, minutes, seconds, in this order, each with its letter (``1h30m``).

    Raises PydanticCustomError, which is a ValueError, when the words are no span above zero.
    """
    match = _DURATION.fullmatch(words)
    if match is None or not any(match.groups()) or words.startswith(" "):
        raise mistake(f"not a duration: {words!r}", hint="write numbers with units, such as 90s, 5m or 1h30m")
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise mistake(f"too long a duration: {words[:40]!r}") from None
    if not span:
        raise mistake("a duration must be above zero")
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


def _size(value: object) -> object:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool):
        raise mistake("a size needs a unit", hint=f"write {value}MiB, or {value}B for bytes")
    return value


def _duration(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise mistake("a duration needs a unit", hint=f"write {value}s or {value}m")
    return value


Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(write_size),
    WithJsonSchema({"type": "string", "pattern": _SIZE_PATTERN, "examples": ["20MiB"]}),
]
"""Bytes."""

Rate = Size
"""Bytes per second."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(write_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "examples": ["5m", "1h30m"]}),
]
"""A span of time above zero."""
