"""The way of a recovery through timelines, against PostgreSQL's own rule written out plainly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wal.recovering import SIZE, segment_name

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import HistoryEntry, Timeline, TimelineHistory
from holdfast.wal.route import Route


@st.composite
def histories(draw) -> TimelineHistory:
    """A history whose timelines were left anywhere, also twice within one segment, or at a boundary."""
    ends = sorted(draw(st.lists(st.integers(0, 20 * SIZE), max_size=4)))
    numbers = sorted(draw(st.sets(st.integers(1, 300), min_size=len(ends) + 1, max_size=len(ends) + 1)))
    begins = [0, *ends]
    entries = zip(numbers, begins, [*map(Lsn, ends), None], strict=True)
    return TimelineHistory(tuple(HistoryEntry(Timeline(n), Lsn(begin), end) for n, begin, end in entries))


def asked_first(history: TimelineHistory, number: int) -> Timeline:
    """What XLogFileReadAnyTLI tries first: the newest timeline that did not begin after the segment."""
    for entry in reversed(history.entries):
        if entry.begin and number < entry.begin // SIZE:
            continue
        return entry.timeline
    raise AssertionError


@given(histories(), st.integers(0, 25))
def test_what_follows_is_what_postgresql_asks_for(history, number):
    route = Route(history, SIZE)
    now = segment_name(number, asked_first(history, number))
    assert route.after(now, 3) == [segment_name(n, asked_first(history, n)) for n in range(number + 1, number + 4)]


@given(histories(), st.integers(0, 25))
def test_no_byte_after_the_end_of_a_timeline_is_its_own(history, number):
    route = Route(history, SIZE)
    for entry in history.entries:
        segment = route.segment(segment_name(number, entry.timeline))
        own = route.own_bytes(segment)
        inside = entry.end is not None and segment.start < entry.end < segment.stop
        assert own == (entry.end - segment.start if inside else SIZE)


def test_a_timeline_that_is_not_of_the_history_goes_on_by_itself():
    history = TimelineHistory(
        (HistoryEntry(Timeline(1), Lsn(0), Lsn(SIZE)), HistoryEntry(Timeline(3), Lsn(SIZE), None))
    )
    assert Route(history, SIZE).after(segment_name(5, 2), 2) == [segment_name(6, 2), segment_name(7, 2)]
    assert Route(None, SIZE).after(segment_name(5, 2), 1) == [segment_name(6, 2)]


def test_the_newest_history_that_was_read_is_the_targets_unless_one_was_given():
    first, second = (
        TimelineHistory((HistoryEntry(Timeline(1), Lsn(0), Lsn(SIZE)), HistoryEntry(Timeline(n), Lsn(SIZE), None)))
        for n in (2, 3)
    )
    learning, fixed = Route(None, SIZE), Route(first, SIZE)
    for route in (learning, fixed):
        for history in (first, second, first):
            route.learn(history)
    assert learning.after(segment_name(0), 1) == [segment_name(1, 3)]
    assert fixed.after(segment_name(0), 1) == [segment_name(1, 2)]


@pytest.mark.parametrize("name", ["00000002.history", segment_name(1) + ".partial", "000000010000000000001000"])
def test_other_names_are_no_segments(name):
    with pytest.raises(VerificationError):
        Route(None, SIZE).segment(name)
