"""Identities survive paper: case, spaces and notes do not matter, a mistyped character is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import KeyRefusedError
from holdfast.repository.identity import new_identity, parse_identity, render_identity
from holdfast.repository.key_slot import SlotKind

kinds = st.sampled_from([SlotKind.RECOVERY, SlotKind.WRITER])
secrets = st.binary(min_size=32, max_size=32)


@given(identity=secrets, kind=kinds)
def test_an_identity_comes_back_from_its_text(identity: bytes, kind: SlotKind) -> None:
    text = render_identity(identity, kind)
    assert parse_identity(text) == identity
    assert parse_identity(f"# recovery identity of the shop\n\n  {text.lower()}\n") == identity
    prefix, groups = text.split(" ")
    assert parse_identity(f"{prefix}\n{groups.replace('-', ' ')}") == identity
    assert parse_identity(f"{prefix} {groups.replace('-', '')}") == identity


@given(identity=secrets, kind=kinds, at=st.integers(0), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_character_is_found(identity: bytes, kind: SlotKind, at: int, letter: str) -> None:
    prefix, groups = render_identity(identity, kind).split(" ")
    at %= len(groups)
    wrong = groups[:at] + letter + groups[at + 1 :]
    if groups[at] in {"-", letter}:
        return
    with pytest.raises(KeyRefusedError, match="mistyped"):
        parse_identity(f"{prefix} {wrong}")


@pytest.mark.parametrize(
    "text", ["", "correct horse", "HOLDFAST-RECOVERY-2 AAAAA", "HOLDFAST-RECOVERY-1", "HOLDFAST-WRITER-1 ä"]
)
def test_other_texts_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(KeyRefusedError) as caught:
        parse_identity(text)
    assert caught.value.hint


def test_new_identities_differ() -> None:
    assert len({new_identity() for _ in range(100)}) == 100
