"""What was understood of a target is shown before anything happens: its time to the last digit, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from holdfast.cli.restoring.recovery import target_words
from holdfast.restore.target import RecoveryTarget, TimeGoal


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is not in UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("microsecond", "words"),
    [
        (0, "2026-11-20 20:20:20 +0100 (2026-11-20 19:20:20 UTC)"),
        (500_000, "2026-11-20 20:20:20.500000 +0100 (2026-11-20 19:20:20.500000 UTC)"),
    ],
)
def test_a_time_is_shown_with_the_fraction_of_its_second(microsecond: int, words: str) -> None:
    at = datetime(2026, 11, 20, 19, 20, 20, microsecond, UTC)  # the day, the hour and the second look alike
    assert target_words(RecoveryTarget(TimeGoal(at))) == f"recovering to {words}"
