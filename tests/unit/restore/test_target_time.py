"""Instants: what is written is read back, for any instant in any zone; what has two readings is refused with both."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.restore.target_time import parse_time

BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # a Friday, 16:00 in Berlin

instants = st.integers(631152000 * 10**6, 3786912000 * 10**6).map(
    lambda us: EPOCH + timedelta(microseconds=us)
)  # 1990-2090
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"])


def reading(text):
    """Return the instant, or how it was refused."""
    try:
        return parse_time(text, NOW, BERLIN)
    except UsageError as error:
        return error


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-20 14:03 Europe/Berlin", "2026-11-20T13:03"),
        ("2026-11-20 14:03 europe/berlin", "2026-11-20T13:03"),
        ("2026-11-20T14:03:00Z", "2026-11-20T14:03"),
        ("2026-11-20 14:03 UTC", "2026-11-20T14:03"),
        ("2026-11-20 14:03:05.25+01:00", "2026-11-20T13:03:05.250"),
        ("2026-11-20 14:03 -0530", "2026-11-20T19:33"),
        ("2026-11-20 14:03+01", "2026-11-20T13:03"),
        ("2026/11/20 14:03", "2026-11-20T13:03"),
        ("20.11.2026 14:03", "2026-11-20T13:03"),
        ("20261120T140300Z", "2026-11-20T14:03"),
        ("Nov 20, 2026 2:03 pm", "2026-11-20T13:03"),
        ("20 November 2026 12:00am", "2026-11-19T23:00"),
        ("20 nov 2026 12:30 PM", "2026-11-20T11:30"),
        ("  14:03  ", "2026-11-20T13:03"),
        ("today 14:03", "2026-11-20T13:03"),
        ("yesterday 14:03", "2026-11-19T13:03"),
        ("14:03 yesterday Europe/Berlin", "2026-11-19T13:03"),
        ("tomorrow 00:00", "2026-11-20T23:00"),
        ("yesterday 23:30 America/New_York", "2026-11-20T04:30"),
        ("monday 10:00", "2026-11-16T09:00"),
        ("friday 10:00", "2026-11-20T09:00"),
        ("friday 17:00", "2026-11-13T16:00"),
        ("now", "2026-11-20T15:00"),
        ("10 minutes ago", "2026-11-20T14:50"),
        ("1h30m ago", "2026-11-20T13:30"),
        ("2 days, 5 min ago", "2026-11-18T14:55"),
        ("1 week ago", "2026-11-13T15:00"),
        ("@1700000000.5", "2023-11-14T22:13:20.5"),
    ],
)
def test_times_in_any_sane_form(text, wanted):
    assert parse_time(text, NOW, BERLIN) == datetime.fromisoformat(wanted).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-20", "no time of day"),
        ("yesterday", "no time of day"),
        ("14:03 15:03", "two times of day"),
        ("25:00", "there is no 25:00"),
        ("14:60", "there is no 14:60"),
        ("13:00 pm", "there is no hour 13"),
        ("2026-02-30 10:00", "day"),
        ("2026-13-01 10:00", "month"),
        ("20 foo 2026 10:00", "no month"),
        ("someday 10:00", "no day"),
        ("5 fortnights ago", "no unit"),
        ("2026-11-20 14:03:00.1234567", "no time of day"),
        ("0001-01-01 00:00 +12", "out of range"),
        ("999999999 weeks ago", ""),
        ("", "no time of day"),
    ],
)
def test_what_is_no_time_is_refused_with_forms_that_would_do(text, words):
    with pytest.raises(UsageError, match="not a time") as caught:
        parse_time(text, NOW, BERLIN)
    assert words in caught.value.message
    assert "10 minutes ago" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words", "readings"),
    [
        (
            "2026-10-25 02:30",
            "happens twice in Europe/Berlin",
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ),
        (
            "2026-03-29 02:30",
            "does not exist in Europe/Berlin",
            ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        ),
        (
            "2026-11-01 01:30 America/New_York",
            "happens twice",
            ("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"),
        ),
        ("01/02/2026 10:00", "not clear which day", ("2026-01-02", "2026-02-01")),
        ("14:03 CET", "does not name one time zone", ("Europe/Berlin", "+01:00")),
        ("14:03 Europe/Berlim", "no time zone", ("Europe/Berlin",)),
    ],
)
def test_what_has_two_readings_is_refused_with_both(text, words, readings):
    with pytest.raises(UsageError) as caught:
        parse_time(text, NOW, BERLIN)
    assert words in caught.value.message
    for reading in readings:
        assert reading in caught.value.hint


def test_the_readings_of_an_ambiguous_time_are_taken():
    first = parse_time("2026-10-25T02:30:00+02:00", NOW, BERLIN)
    second = parse_time("2026-10-25T02:30:00+01:00", NOW, BERLIN)
    assert second - first == timedelta(hours=1)


def test_without_a_zone_it_is_this_machines(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_time("2026-07-01 12:00", NOW, None) == datetime(2026, 7, 1, 16, tzinfo=UTC)
        with pytest.raises(UsageError, match="happens twice in this machine's time zone"):
            parse_time("2026-11-01 01:30", NOW, None)
    finally:
        monkeypatch.undo()
        time.tzset()


@given(instants, zones)
def test_every_instant_is_read_back_with_its_zone_or_refused_as_ambiguous(instant, zone):
    wall = instant.astimezone(ZoneInfo(zone))
    text = f"{wall:%Y-%m-%d %H:%M:%S.%f} {zone}"
    found = reading(text)
    if isinstance(found, UsageError):
        assert "happens twice" in found.message
        assert wall.isoformat() in found.hint
    else:
        assert found == instant


@given(instants, zones)
def test_every_instant_is_read_back_with_its_offset(instant, zone):
    wall = instant.astimezone(ZoneInfo(zone))
    assert parse_time(wall.isoformat(), NOW, BERLIN) == instant
    assert parse_time(wall.isoformat(sep=" "), NOW, None) == instant


@given(st.text(max_size=40) | st.from_regex(r"[0-9 :./TZ+-]{1,25}", fullmatch=True))
def test_any_text_is_a_time_or_a_usage_error(text):
    found = reading(text)
    assert found.hint if isinstance(found, UsageError) else found.tzinfo is UTC
