"""Snapshots and times that people name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import DamageError, UsageError
from holdfast.model import ObjectId
from holdfast.operations.snapshots import SnapshotFinder, parse_time
from holdfast.repository.snapshot import Snapshot, SnapshotSurvey

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


def snapshot(snapshot_id: str, stack: str, service: str) -> Snapshot:
    return Snapshot(
        id=ObjectId(snapshot_id.ljust(32, "0")), stack=stack, service=service, kind="postgres", host="here",
        started="2026-11-21T08:00:00+00:00", ended="2026-11-21T08:01:00+00:00", tool_version="1", manifest=bytes(32),
        is_complete=True, is_clean=True, is_encrypted=True,
    )  # fmt: skip


OLD, OTHER, NEW, ELSEWHERE = (
    snapshot("a", "shop", "db"), snapshot("b", "shop", "mail"), snapshot("c", "shop", "db"), snapshot("d", "bank", "db")
)  # fmt: skip
SHARED = SnapshotSurvey((OLD, OTHER, NEW, ELSEWHERE))


def test_latest_is_of_one_service_of_this_stack():
    assert SnapshotFinder(SHARED, "shop", "db").find("latest") is NEW
    assert SnapshotFinder(SHARED, "shop", "mail").find("latest") is OTHER
    assert SnapshotFinder(SHARED, "bank").find("latest") is ELSEWHERE
    assert SnapshotFinder(SHARED, "bank", "db").find("latest") is ELSEWHERE


def test_latest_of_several_services_is_not_guessed():
    with pytest.raises(UsageError, match="ambiguous: there are snapshots of db, mail") as caught:
        SnapshotFinder(SHARED, "shop").find("latest")
    assert caught.value.hint == "say which: --service db | --service mail"


def test_latest_of_a_stack_without_snapshots_names_those_that_have():
    with pytest.raises(UsageError, match="no snapshot of the stack typo") as caught:
        SnapshotFinder(SHARED, "typo").find("latest")
    assert "bank/db, shop/db, shop/mail" in (caught.value.hint or "")


def test_an_id_is_of_any_stack_unless_a_service_is_named():
    assert SnapshotFinder(SHARED, "shop").find("d") is ELSEWHERE
    with pytest.raises(UsageError, match="there is no snapshot 'd'"):
        SnapshotFinder(SHARED, "shop", "db").find("d")


def test_the_one_before_is_of_the_same_service():
    finder = SnapshotFinder(SHARED, "shop")
    assert finder.before(NEW) is OLD
    for first in (OTHER, ELSEWHERE, OLD):
        with pytest.raises(UsageError, match="is older than"):
            finder.before(first)


def test_what_is_damaged_may_be_the_one_before():
    damage = DamageError("snapshots/" + "9" * 32, "the seal is broken")
    with pytest.raises(DamageError, match="seal is broken"):
        SnapshotFinder(SnapshotSurvey(SHARED.snapshots, (damage,)), "shop").before(NEW)
