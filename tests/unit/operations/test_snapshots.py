"""Times that people type."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import UsageError
from holdfast.operations.snapshots import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def new_york(monkeypatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize("text", ["", "0", "yesterday", "2026-13-01", "9999-12-31T23:59:59"])
def test_what_is_no_time_is_refused(text: str):
    """The last hours of the year 9999 lie beyond it in UTC."""
    with pytest.raises(UsageError, match="not a time"):
        parse_time(text)
