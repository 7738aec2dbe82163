"""Timelines and the parser of their history files."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import MAX_TIMELINE, Timeline, first_history, parse_history

TEXT = "1\t0/5000000\tno recovery target specified\n\n# by hand\n3\t0/7000060\tbefore 2026-11-21 08:00:00+00\n"


@given(st.integers(1, MAX_TIMELINE))
def test_hexadecimal_form_reads_back(number):
    assert Timeline.parse_hex(Timeline(number).hex) == number
    assert str(Timeline(number)) == str(number)


@pytest.mark.parametrize("text", ["", "0000001", "000000001", "0000000g", "0000000a", "00000000"])
def test_what_is_no_timeline_is_refused(text):
    with pytest.raises(VerificationError):
        Timeline.parse_hex(text)


@pytest.mark.parametrize("number", [0, -1, 2**32])
def test_timelines_out_of_range_are_refused(number):
    with pytest.raises(ValueError, match="not a timeline"):
        Timeline(number)


def test_history_gives_each_timeline_its_part():
    history = parse_history(Timeline(12), TEXT)
    assert history.timeline == 12
    assert [(e.timeline, str(e.begin), str(e.end)) for e in history.entries] == [
        (1, "0/0", "0/5000000"),
        (3, "0/5000000", "0/7000060"),
        (12, "0/7000060", "None"),
    ]
    assert history.entries[1].reason == "before 2026-11-21 08:00:00+00"


def test_each_byte_belongs_to_one_timeline():
    history = parse_history(Timeline(12), TEXT)
    assert history.timeline_at(Lsn.parse("0/4FFFFFF")) == 1
    assert history.timeline_at(Lsn.parse("0/5000000")) == 3
    assert history.timeline_at(Lsn.parse("0/7000060")) == 12


def test_points_that_were_left_behind_are_not_in_the_past():
    history = parse_history(Timeline(12), TEXT)
    assert history.has_point(Timeline(1), Lsn.parse("0/5000000"))
    assert not history.has_point(Timeline(1), Lsn.parse("0/5000001"))
    assert not history.has_point(Timeline(2), Lsn.parse("0/4000000"))
    assert history.has_point(Timeline(12), Lsn.parse("F/0"))


def test_timeline_1_has_no_file_and_all_points():
    assert first_history().timeline_at(Lsn(0)) == 1
    assert parse_history(Timeline(1), "") == first_history()


@pytest.mark.parametrize(
    ("timeline", "content"),
    [
        (3, "one\t0/5000000\tx\n"),
        (3, "1 0/50000000000\n"),
        (3, "0\t0/5000000\tx\n"),
        (3, "2\t0/5000000\tx\n1\t0/6000000\tx\n"),
        (3, "1\t0/5000000\tx\n1\t0/6000000\tx\n"),
        (3, "1\t0/5000000\tx\n2\t0/4000000\tx\n"),
        (3, "3\t0/5000000\tx\n"),
        (3, "4294967296\t0/5000000\tx\n"),
        (3, f"{'9' * 5000}\t0/5000000\tx\n"),
    ],
)
def test_histories_that_cannot_be_are_refused(timeline, content):
    with pytest.raises(VerificationError):
        parse_history(Timeline(timeline), content)


@given(st.lists(st.tuples(st.integers(1, 2**20), st.integers(1, 2**40)), max_size=20), st.text(max_size=40))
def test_any_rising_history_reads_back(steps, reason):
    reason = " ".join(reason.split())
    timeline, position, lines = 0, 0, []
    for step, distance in steps:
        timeline, position = timeline + step, position + distance
        lines.append(f"{timeline}\t{Lsn(position)}\t{reason}")
    history = parse_history(Timeline(timeline + 1), "\n".join(lines))
    assert len(history.entries) == len(steps) + 1
    assert history.entries[-1].begin == position


@given(st.text(max_size=200))
def test_the_parser_answers_or_refuses(content):
    with contextlib.suppress(VerificationError):
        parse_history(Timeline(7), content)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "4294967296", "1.0", "9" * 5000, "\u0661"])
def test_what_is_no_timeline_of_a_server_is_refused(text):
    with pytest.raises(VerificationError, match="not a timeline"):
        Timeline.parse_decimal(text)


@given(st.integers(1, 2**32 - 1))
def test_every_timeline_is_read_in_decimal(number):
    """FAULTS 11."""
    assert Timeline.parse_decimal(str(number)) == number
