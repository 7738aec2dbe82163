"""Positions in the WAL: text form, arithmetic, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import MAX_LSN, Lsn

positions = st.integers(0, MAX_LSN)


@given(positions)
def test_text_form_reads_back(position):
    assert Lsn.parse(str(Lsn(position))) == position


def test_known_forms():
    assert str(Lsn.parse("0/16B3748")) == "0/16B3748"
    assert Lsn.parse("1/0") == 2**32
    assert Lsn.parse("a/00000b0C") == 0xA00000B0C
    assert f"{Lsn(255)}" == "0/FF"
    assert repr(Lsn(255)) == "Lsn(0/FF)"


def test_arithmetic_keeps_the_type_where_it_is_a_position():
    start = Lsn.parse("0/FFFFFFFF")
    assert str(start + 1) == "1/0"
    assert (start + 1) - start == 1


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/0", "0/123456789", "0x1/0", "0/16B3748\n", "1/G", "-1/0", "\u0661/0"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(VerificationError):
        Lsn.parse(text)


@pytest.mark.parametrize("position", [-1, 2**64])
def test_out_of_range_is_refused(position):
    with pytest.raises(ValueError, match="not a WAL position"):
        Lsn(position)
