"""The only source of time."""

from __future__ import annotations

from datetime import UTC, datetime

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
