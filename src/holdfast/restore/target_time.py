"""Instants as people write them at 3 a.m., read without guessing: what has two readings is refused with both.

Times without a zone are local ones. A time of day that a change of the clocks repeats or leaves out is no instant,
and one that names no day is today's. What was understood is for the caller to show back, in UTC and in local time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_FORMS = (
    "write '2026-11-20 14:03', '2026-11-20 14:03 Europe/Berlin', '2026-11-20T14:03:00Z', 'yesterday 14:03' "
    "or '10 minutes ago'"
)
_CLOCK = re.compile(
    r"(?:^|(?<=[\sTt,]))(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,6}))?)?"
    r"(?:\s?(?P<half>[AaPp][Mm]))?(?=$|[\sZz+-])"
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})[Tt](\d{2})(\d{2})(\d{2})?(?=$|[\sZz+-])")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?")
_EPOCH = re.compile(r"@(\d{1,11})(?:\.(\d{1,6}))?")
_AGO = re.compile(r"((?:\d{1,9}\s?[a-z]+[\s,]*)+)\sago", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d+)\s?([a-z]+)", re.IGNORECASE)
_UNITS_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_BACK = {"": 0, "today": 0, "yesterday": 1, "tomorrow": -1}
_UNIVERSAL = {"z", "utc", "gmt"}


def parse_time(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the instant that ``text`` means, aware, in UTC; it may lie after ``now``.

    ``now`` is aware. ``zone`` is where times without a zone of their own are; None is this machine's. UsageError,
    with forms or readings that would do, for what is no time, has two readings, or falls into a change of the clocks.
    """
    words = " ".join(text.split())
    try:
        return _parse(words, now, zone)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"not a time: {text!r} ({error})", hint=_FORMS) from None


def _parse(words: str, now: datetime, zone: tzinfo | None) -> datetime:
    if words.lower() == "now":
        return now.astimezone(UTC)
    if match := _EPOCH.fullmatch(words):
        return datetime.fromtimestamp(int(match[1]), UTC) + _fraction(match[2])
    if match := _AGO.fullmatch(words):
        return (now - sum(map(_amount, _AMOUNT.findall(match[1])), timedelta())).astimezone(UTC)
    words = _COMPACT.sub(lambda m: f"{m[1]}-{m[2]}-{m[3]}T{m[4]}:{m[5]}:{m[6] or '00'}", words)
    clocks = list(_CLOCK.finditer(words))
    if len(clocks) != 1:
        raise ValueError("it names no time of day, as in 14:03" if not clocks else "it names two times of day")
    before, after = words[: clocks[0].start()].rstrip(" ,Tt"), words[clocks[0].end() :].split()
    if after and (found := _zone(after[-1])) is not None:
        zone = found
        after.pop()
    day = " ".join([before, *after] if before else after).lower()
    return _on_day(day, _wall_time(clocks[0]), now, zone)


def _on_day(day: str, wall: timedelta, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the instant of a day's wall-clock time; a weekday is the last one on which it was that time already."""
    today = now.astimezone(zone).date()
    if day in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(day)) % 7
        then = _instant(_midnight(today - timedelta(days=back)) + wall, zone)
        return then if then <= now else _instant(_midnight(today - timedelta(days=back + 7)) + wall, zone)
    if day in _DAYS_BACK:
        return _instant(_midnight(today - timedelta(days=_DAYS_BACK[day])) + wall, zone)
    return _instant(_midnight(_date(day)) + wall, zone)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall clock's time; _instant says where


def _instant(wall: datetime, zone: tzinfo | None) -> datetime:
    """Return the one instant at which the clocks of a zone show ``wall``, or raise UsageError with those near it."""
    readings = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    if readings[0] == readings[1]:
        return readings[0]
    where = f"in {zone}" if zone is not None else "in this machine's time zone"
    either = " or ".join(f"{then.astimezone(zone).isoformat()} ({then:%H:%M:%S} UTC)" for then in sorted(set(readings)))
    if readings[0] < readings[1]:
        raise UsageError(f"{wall} happens twice {where}: the clocks are put back", hint=f"say which one: {either}")
    raise UsageError(f"{wall} does not exist {where}: the clocks are put forward", hint=f"did you mean {either}?")


def _wall_time(match: re.Match[str]) -> timedelta:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"there is no hour {hour} {match['half']}")
        hour = hour % 12 + (12 if match["half"].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"there is no {match[0].strip()}")
    return timedelta(hours=hour, minutes=minute, seconds=second) + _fraction(match["fraction"])


def _fraction(digits: str | None) -> timedelta:
    return timedelta(microseconds=int((digits or "0").ljust(6, "0")))


def _amount(found: tuple[str, str]) -> timedelta:
    number, unit = found
    if unit.lower() not in _UNITS_S:
        raise ValueError(f"{unit!r} is no unit; seconds, minutes, hours, days and weeks are")
    return timedelta(seconds=int(number) * _UNITS_S[unit.lower()])


def _date(day: str) -> date:
    """Return the date of a day as it is written, lowercase; ValueError when it is none."""
    if match := re.fullmatch(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})", day):
        return date(int(match[1]), int(match[3]), int(match[4]))
    if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", day):
        return date(int(match[3]), int(match[2]), int(match[1]))
    if match := re.fullmatch(r"(\d{1,2}) ([a-z]{3,9})\.?,? (\d{4})", day):
        return date(int(match[3]), _month(match[2]), int(match[1]))
    if match := re.fullmatch(r"([a-z]{3,9})\.? (\d{1,2}),? (\d{4})", day):
        return date(int(match[3]), _month(match[1]), int(match[2]))
    if match := re.fullmatch(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})", day):
        first, second, year = map(int, match.groups())
        raise UsageError(
            f"not clear which day {day} is: some write the month first, some the day",
            hint=f"write {year}-{first:02d}-{second:02d} or {year}-{second:02d}-{first:02d}",
        )
    raise ValueError(f"{day!r} is no day")


def _month(word: str) -> int:
    if word[:3] not in _MONTHS:
        raise ValueError(f"{word!r} is no month")
    return _MONTHS.index(word[:3]) + 1


def _zone(word: str) -> tzinfo | None:
    """Return the zone that a word names, None when it is a word of another kind; UsageError for an unknown zone."""
    if word.lower() in _UNIVERSAL:
        return UTC
    if match := _OFFSET.fullmatch(word):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(offset if match[1] == "+" else -offset)
    if "/" in word and not word[0].isdigit():
        return _named_zone(word)
    if re.fullmatch(r"[A-Z]{3,5}", word):
        raise UsageError(
            f"the abbreviation {word} does not name one time zone",
            hint="write the zone as Europe/Berlin, or its offset from UTC as +01:00",
        )
    return None


def _named_zone(name: str) -> ZoneInfo:
    """Return a zone of the system's time zone database, in whatever case it is written."""
    import difflib
    from zoneinfo import ZoneInfo, available_timezones

    known = {each.lower(): each for each in available_timezones()}
    if name.lower() in known:
        return ZoneInfo(known[name.lower()])
    near = [known[each] for each in difflib.get_close_matches(name.lower(), known, n=3)]
    if not known:
        hint = "this machine has no time zone database: install tzdata, or give the offset from UTC as +01:00"
    else:
        hint = f"did you mean {', '.join(near)}?" if near else "write it as Europe/Berlin, or its offset as +01:00"
    raise UsageError(f"there is no time zone {name!r}", hint=hint)
