"""Lag of made-up archives behind made-up servers."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wal.worlds import BEGAN, Archive, history_of

from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.wal.coverage import survey
from holdfast.wal.lag import Lag, measure_lag

NOW = BEGAN + timedelta(hours=1)


def lag_of(archive: Archive, lsn: Lsn, timeline: int = 1) -> Lag | None:
    return measure_lag(survey(archive, [], archive.segment_size), Timeline(timeline), lsn, NOW)


def test_an_archive_that_has_all_is_not_behind():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    assert lag_of(archive, archive.at(4)) == Lag(0, 0, 0.0, archive.at(4))
    assert lag_of(archive, archive.at(3.5)) == Lag(0, 0, 0.0, archive.at(4))


@given(st.integers(1, 10 << 20))
def test_bytes_segments_and_age_beyond_the_newest_segment(behind_bytes):
    archive = Archive()
    archive.add_segments(1, 2, 3)
    lag = lag_of(archive, archive.at(4) + behind_bytes)
    assert lag == Lag(behind_bytes, -(-behind_bytes // archive.segment_size), 3540.0, archive.at(4))


def test_pieces_count_to_the_byte_and_gaps_do_not():
    archive = Archive()
    archive.add_segments(1, 2, 5)
    archive.add_piece(1, 6, 0, 1000)
    lag = lag_of(archive, archive.at(6) + 1500)
    assert (lag.size_bytes, lag.segments, lag.archived) == (500, 1, archive.at(6) + 1000)


def test_a_new_timeline_of_which_nothing_is_there_is_behind_from_its_branch():
    archive = Archive()
    archive.add_segments(1, 2, 3)
    archive.add_history(history_of((1, archive.at(3.5)), (2, None)))
    lag = lag_of(archive, archive.at(4.5), 2)
    assert (lag.size_bytes, lag.segments, lag.seconds) == (archive.segment_size, 2, None)


def test_an_empty_archive_has_no_lag_that_could_be_told():
    assert lag_of(Archive(), Lsn(1 << 24)) is None


def test_an_archive_with_the_very_last_segment_is_read():
    """Any name may be stored by who may write: one that no server gives ended every status with an internal error."""
    archive = Archive()
    archive.add_segments(1, 2, 2**64 // archive.segment_size - 1)
    assert lag_of(archive, archive.at(3)) == Lag(0, 0, 0.0, Lsn(MAX_LSN))
    held = survey(archive, [], archive.segment_size).holdings[Timeline(1)]
    assert held.intervals()[-1] == (Lsn(2**64 - archive.segment_size), Lsn(MAX_LSN))
