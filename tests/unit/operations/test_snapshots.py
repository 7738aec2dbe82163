"""Times that people type."""

from __future__ import annotations

import time

import pytest

from holdfast.errors import UsageError
from holdfast.operations.snapshots import parse_time


@pytest.mark.parametrize("text", ["", "0", "yesterday", "2026-13-01", "9999-12-31T23:59:59", "0001-01-01"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_what_is_no_time_is_refused(text: str, zone: str, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parse_time(text).year in {1, 9999}
    except UsageError as refused:
        assert refused.message == f"not a time: {text!r}"
    finally:
        monkeypatch.undo()
        time.tzset()
