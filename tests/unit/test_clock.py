"""The only source of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast import clock
from holdfast.errors import HoldfastError


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().tzinfo is UTC
    assert abs((datetime.now(UTC) - clock.now()).total_seconds()) < 60


def test_monotonic_never_goes_back() -> None:
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_clock_before_2020_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.require_plausible()
    monkeypatch.setattr(clock, "now", lambda: datetime(2019, 12, 31, 23, 59, tzinfo=UTC))
    with pytest.raises(HoldfastError, match="2019-12-31") as caught:
        clock.require_plausible()
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "x", "2026-11-21", "2026-11-21T08:00:00", "0001-01-02T00:00:00+00:00"])
def test_what_not_every_zone_can_show_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an instant|isoformat"):
        clock.parse_instant(text)


def test_an_instant_comes_back() -> None:
    now = clock.now()
    assert clock.parse_instant(now.isoformat()) == now


@pytest.mark.parametrize(("seconds", "year"), [(0.0, 1970), (-1e30, 2), (1e30, 9998), (9e11, 9998)])
def test_any_time_of_a_file_has_a_nearest_instant(seconds: float, year: int) -> None:
    found = clock.nearest_instant(seconds)
    assert (found.year, found.tzinfo) == (year, UTC)
    assert found.astimezone()


def test_an_instant_is_named_in_utc_whatever_zone_it_has() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert clock.in_utc(datetime(2026, 11, 20, 1, 2, 3, 999_999, there)) == "2026-11-19 19:32:03 UTC"
