"""Timelines that an undo left: by hand, as the deeds of one night follow one another."""

import msgspec
from tests.unit.repository.test_journal import entry
from tests.unit.wal.worlds import Archive, history_of

from holdfast.restore.left import left_timelines
from holdfast.wal.coverage import survey


def deed(was, became, result="done"):
    """A deed of cluster 7, from one timeline to another; 0 is a damaged one."""
    names = [f"7/{timeline}" if timeline else "" for timeline in (was, became)]
    return msgspec.structs.replace(entry(1), identity_was=names[0], identity_became=names[1], result=result)


def left(*deeds, identifier="7"):
    """Timelines 2 and 3 left timeline 1, 4 left 3."""
    archive = Archive()
    for timeline in (1, 2, 3, 4):
        archive.add_segments(timeline, 2, 3, 4, 5, 6)
    archive.add_history(history_of((1, archive.at(3.5)), (2, None)))
    archive.add_history(history_of((1, archive.at(4.5)), (3, None)))
    archive.add_history(history_of((1, archive.at(4.5)), (3, archive.at(5.5)), (4, None)))
    return left_timelines(deeds, identifier, survey(archive, (), archive.segment_size).lineage)


def test_a_restore_leaves_nothing_that_leads_to_it():
    assert left(deed(1, 2)) == set()


def test_an_undo_leaves_what_the_restore_made():
    assert left(deed(1, 2), deed(2, 1)) == {2}


def test_with_all_that_came_of_it_meanwhile():
    assert left(deed(1, 3), deed(4, 1)) == {3, 4}


def test_an_undo_of_the_undo_comes_back_to_it():
    assert left(deed(1, 2), deed(2, 1), deed(1, 2)) == set()


def test_the_restore_after_an_undo_goes_on_from_what_was_kept():
    assert left(deed(1, 2), deed(2, 1), deed(1, 3)) == {2}


def test_what_did_not_work_in_service_is_left_at_once():
    assert left(deed(1, 2, "put back")) == {2}


def test_what_never_came_into_service_tells_nothing():
    assert left(deed(1, 2, "failed"), deed(2, 1, "begun")) == set()


def test_neither_do_deeds_with_other_clusters_or_with_damaged_ones():
    assert left(deed(1, 2), deed(2, 1), identifier="8") == set()
    assert left(deed(0, 2), deed(2, 0)) == set()
