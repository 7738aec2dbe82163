"""Names of the archive: PostgreSQL's own and our four kinds, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.wal.names import (
    WalFileKind,
    conflict_name,
    gap_name,
    kind_of,
    object_name,
    other_partial_name,
    piece_name,
    piece_range,
)

SEGMENT = "0000000A00000001000000FE"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (SEGMENT, WalFileKind.SEGMENT),
        ("0000000A.history", WalFileKind.HISTORY),
        (SEGMENT + ".partial", WalFileKind.PARTIAL),
        (other_partial_name(SEGMENT + ".partial", bytes(32)), WalFileKind.OTHER_PARTIAL),
        (SEGMENT + ".00000028.backup", WalFileKind.BACKUP),
        (piece_name(SEGMENT, 0, 8192), WalFileKind.PIECE),
        (gap_name(SEGMENT), WalFileKind.GAP),
        (conflict_name(SEGMENT, bytes(32)), WalFileKind.CONFLICT),
        (conflict_name("0000000A.history", bytes(32)), WalFileKind.CONFLICT),
    ],
)
def test_each_kind_is_known_by_its_name(name: str, kind: WalFileKind) -> None:
    assert kind_of(name) is kind
    assert object_name("7123456789012345678", name) == f"wal/7123456789012345678/0000000A/{name}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0" * 24,
        SEGMENT.lower(),
        SEGMENT + ".gz",
        SEGMENT + "\n",
        SEGMENT + ".piece-0-1",
        SEGMENT + ".conflict-" + "0" * 16 + ".conflict",
        "../" + SEGMENT,
        "x.conflict-" + "0" * 16,
        "RECOVERYXLOG",
        "00000000.history",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(VerificationError) as caught:
        kind_of(name)
    assert "%f" in (caught.value.hint or "")


@pytest.mark.parametrize("identifier", ["", "0", "x", "1/2", "-1", "1" * 21])
def test_a_system_identifier_is_a_number(identifier: str) -> None:
    with pytest.raises(VerificationError):
        object_name(identifier, SEGMENT)


@given(begin=st.integers(0, 2**30), end=st.integers(0, 2**30))
def test_a_piece_says_its_range(begin: int, end: int) -> None:
    assert piece_range(piece_name(SEGMENT, begin, end)) == (begin, end)
