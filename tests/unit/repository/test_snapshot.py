"""Snapshots come back as they were, and are found by what a person types."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError, UsageError
from holdfast.model import ObjectId
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.snapshot import (
    Snapshot,
    SnapshotStats,
    SnapshotSurvey,
    choose_snapshot,
    decode_snapshot,
    encode_snapshot,
)

KEYS = Keys("ab" * 16, new_keyring())


def snapshot(snapshot_id: str, **changes: object) -> Snapshot:
    """Return a snapshot with an id."""
    base = Snapshot(
        id=ObjectId(snapshot_id.ljust(32, "0")), stack="shop", service="db", kind="postgres", host="here",
        started="2026-11-21T08:00:00+00:00", ended="2026-11-21T08:01:00+00:00", tool_version="1", manifest=bytes(32),
        is_complete=True, is_clean=True, is_encrypted=True,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


facts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    known=st.dictionaries(st.text(max_size=5), facts, max_size=3),
    tags=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    seconds=st.dictionaries(st.text(max_size=5), st.floats(0, 1e6), max_size=3),
    is_complete=st.booleans(),
    manifest=st.binary(min_size=32, max_size=32),
)
def test_a_snapshot_comes_back(known, tags, seconds, is_complete, manifest) -> None:
    stats = SnapshotStats(files=1, size_bytes=2, seconds=seconds)
    before = snapshot("1", facts=known, tags=tags, stats=stats, is_complete=is_complete, manifest=manifest)
    assert decode_snapshot(KEYS, before.object_name, encode_snapshot(KEYS, before)) == before


def test_a_snapshot_under_another_name_is_refused() -> None:
    one, two = snapshot("1"), snapshot("2")
    with pytest.raises(DamageError, match=two.object_name):
        decode_snapshot(KEYS, two.object_name, encode_snapshot(KEYS, one))


@pytest.mark.parametrize(
    "when", ["", "yesterday", "2026-11-21T08:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
@pytest.mark.parametrize("end", ["started", "ended"])
def test_a_snapshot_of_no_time_is_damage(when: str, end: str) -> None:
    """Nothing else was wrong with it, and each command that lists or chooses snapshots ended with an internal error."""
    odd = snapshot("1", **{end: when})
    with pytest.raises(DamageError, match="its times cannot be read"):
        decode_snapshot(KEYS, odd.object_name, encode_snapshot(KEYS, odd))


@pytest.mark.parametrize("manifest", [b"", bytes(31), bytes(33)])
def test_a_snapshot_without_a_chunk_id_for_its_list_is_damage(manifest: bytes) -> None:
    odd = snapshot("1", manifest=manifest)
    with pytest.raises(DamageError, match="cannot be read"):
        decode_snapshot(KEYS, odd.object_name, encode_snapshot(KEYS, odd))


SEVERAL = [snapshot("abc1"), snapshot("abc2"), snapshot("def0")]


def test_a_prefix_chooses() -> None:
    assert choose_snapshot(SEVERAL, "d") is SEVERAL[2]
    assert choose_snapshot(SEVERAL, "ABC2") is SEVERAL[1]
    assert SnapshotSurvey(tuple(SEVERAL)).choose("latest") is SEVERAL[2]


def test_an_ambiguous_prefix_lists_what_fits() -> None:
    with pytest.raises(UsageError, match="ambiguous") as caught:
        choose_snapshot(SEVERAL, "abc")
    assert [line[:4] for line in caught.value.details] == ["abc1", "abc2"]


def test_an_unknown_id_suggests_near_ones() -> None:
    with pytest.raises(UsageError, match="no snapshot") as caught:
        choose_snapshot(SEVERAL, "abd20000")
    assert "abc20000" in (caught.value.hint or "")
    with pytest.raises(UsageError) as caught:
        choose_snapshot(SEVERAL, "987654321")
    assert "holdfast snapshots" in (caught.value.hint or "")


def test_latest_of_nothing_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="no snapshot yet"):
        SnapshotSurvey(()).choose("latest")


def test_latest_of_a_service_that_has_none_names_those_that_have() -> None:
    """Who restores on a new machine, with another stack's name in the file, must not believe that all is lost."""
    survey = SnapshotSurvey((*SEVERAL, snapshot("fff0", service="other")))
    for choose in (survey.of("typo", "db").choose, survey.of("typo", "db").choose_restorable):
        with pytest.raises(UsageError, match="there is no snapshot of typo/db") as caught:
            choose("latest")
        assert "shop/db, shop/other" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="no snapshot yet"):
        SnapshotSurvey(()).of("shop", "db").choose("latest")


DAMAGE = DamageError("snapshots/" + "9" * 32, "the seal is broken")


def test_a_damaged_snapshot_does_not_hide_the_others_but_latest_is_not_guessed() -> None:
    survey = SnapshotSurvey(tuple(SEVERAL), (DAMAGE,))
    assert survey.choose("abc2") is SEVERAL[1]
    with pytest.raises(DamageError, match="may be the latest"):
        survey.choose("latest")
    with pytest.raises(DamageError, match="seal is broken"):
        survey.require_sound()


def test_fault_19_the_latest_restorable_snapshot_is_a_complete_one() -> None:
    """What is incomplete does not count."""
    incomplete = snapshot("eee0", is_complete=False)
    survey = SnapshotSurvey((*SEVERAL, incomplete))
    assert survey.choose("latest") is incomplete
    assert survey.choose_restorable("latest") is SEVERAL[2]
    assert survey.choose_restorable("eee") is incomplete
    with pytest.raises(UsageError, match="no snapshot is complete"):
        SnapshotSurvey((incomplete,)).choose_restorable("latest")


def test_a_survey_of_a_service_keeps_what_may_be_its_damage() -> None:
    other = snapshot("fff0", service="other")
    survey = SnapshotSurvey((*SEVERAL, other), (DAMAGE,)).of("shop", "db")
    assert survey.snapshots == tuple(SEVERAL)
    assert survey.damages == (DAMAGE,)
