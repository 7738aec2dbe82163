"""The facts of a snapshot are the words of whichever host stored it: what cannot be is damage of that snapshot."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.repository.test_snapshot import snapshot

from holdfast.errors import DamageError
from holdfast.progress import Silence
from holdfast.repository.parent import NO_PARENT, Parent
from holdfast.services.postgres.capture import usable_parent
from holdfast.services.postgres.facts import PostgresFacts, TablespaceFact, from_facts, to_facts

FACTS = PostgresFacts(
    version="15.14", major=15, system_identifier="7710532094481306528", timeline=3, start_lsn="0/2000028",
    stop_lsn="0/2000100", is_standby=False, block_size=8192, wal_segment_size=16 << 20, has_data_checksums=True,
    data_directory="/data", wal_level="replica", encoding="UTF8", stop_time="2026-11-21T08:00:00+00:00",
    tablespaces=(TablespaceFact(16384, "fast", "/fast", is_in_place=False),), database_numbers={"postgres": 5},
    wal_segments=("000000030000000000000002",),
)  # fmt: skip
IMPOSSIBLE: dict[str, list[object]] = {
    "major": [0, -1, "15"],
    "system_identifier": ["", "x", "../..", "-1", "1" * 40, 5],
    "timeline": [0, -1, 2**32],
    "start_lsn": ["", "0", "x/y", "FFFFFFFFF/0", "0/0\n"],
    "stop_lsn": ["", "-1/0"],
    "block_size": [0, -1],
    "wal_segment_size": [0, -1, 3, 2**31],
    "data_directory": ["a\0b", None],
    "stop_time": ["yesterday", "2026-11-21", "9999-12-31T23:59:59-14:00"],
    "followed_since": ["yesterday", "2026-11-21T08:00:00"],
    "wal_segments": [["x"], ["../../x"], [""]],
    "database_numbers": [{"x": -1}, {"x": 2**32}],
    "tablespaces": [
        [{"oid": -1, "name": "x", "location": "/x", "is_in_place": False}],
        [{"oid": 16384, "name": "x", "location": "a\0b", "is_in_place": False}],
    ],
    "changed_page_count": [-1],
}


def test_facts_come_back():
    assert from_facts(to_facts(FACTS), "snapshots/1") == FACTS


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values])
def test_a_fact_that_cannot_be_is_damage(name: str, value: object):
    """It was an internal error of a restore, of show, or of whatever listed the windows of the archive."""
    with pytest.raises(DamageError, match="snapshots/1: its facts cannot be read"):
        from_facts({**to_facts(FACTS), name: value}, "snapshots/1")


@pytest.mark.parametrize("facts", [{}, {**to_facts(FACTS), "start_lsn": "x"}])
def test_a_parent_whose_facts_cannot_be_read_is_none(facts: dict[str, object]):
    """The next backup reads everything, and mends it so; it ended with an internal error."""
    parent = Parent(msgspec.structs.replace(snapshot("1"), facts=facts), {})
    assert usable_parent(parent, None, Silence()) is NO_PARENT  # type: ignore[arg-type]
