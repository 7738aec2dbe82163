"""Where the receiver begins, for everything that archive, slot and history may say."""

import pytest
from tests.unit.wal.test_pieces import listed

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.replication import SlotPosition, SystemIdentity
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline, first_history, parse_history
from holdfast.wal.receive import is_named
from holdfast.wal.receive_start import Origin, first_choice, last_choice, second_choice, survey_timeline

SIZE = 1 << 20
ONE, TWO = Timeline(1), Timeline(2)


def at(segment, offset=0):
    return Lsn(segment * SIZE + offset)


def segment(number, timeline=ONE):
    return Segment(timeline, number, SIZE)


def origin(archived=None, *, slot=None, history=None, timeline=ONE):
    files = {t: survey_timeline(listed(*names), SIZE) for t, names in (archived or {}).items()}
    return Origin(SystemIdentity("42", timeline, at(50, 7)), SIZE, history or first_history(), slot, files)


def whole(first, last, timeline=ONE):
    return [segment(number, timeline).name for number in range(first, last + 1)]


def test_an_empty_archive_begins_with_what_the_slot_holds():
    assert first_choice(origin(slot=SlotPosition(at(40, 9), ONE))) == segment(40)
    assert first_choice(origin()) == segment(50)


@pytest.mark.parametrize("slot", [None, SlotPosition(at(45, 9), ONE), SlotPosition(at(48), ONE)])
def test_it_goes_on_after_the_last_whole_segment(slot):
    assert first_choice(origin({ONE: whole(20, 44)}, slot=slot)) == segment(45)


@pytest.mark.parametrize(
    "slot", [SlotPosition(at(44, 9), ONE), SlotPosition(at(40, 9), ONE), SlotPosition(at(30), ONE)]
)
def test_fault_01_the_last_whole_segment_that_the_slot_holds_is_received_again_and_so_compared(slot):
    assert first_choice(origin({ONE: whole(20, 44)}, slot=slot)) == segment(44)


def test_a_segment_of_which_there_are_pieces_is_received_again():
    names = [*whole(20, 44), f"{segment(45).name}.piece-00000000-00000100"]
    assert first_choice(origin({ONE: names})) == segment(45)


def test_a_hole_within_what_the_slot_holds_is_filled():
    names = [*whole(20, 30), *whole(33, 44)]
    assert first_choice(origin({ONE: names}, slot=SlotPosition(at(25), ONE))) == segment(30)
    assert first_choice(origin({ONE: names}, slot=SlotPosition(at(31), ONE))) == segment(31)
    assert first_choice(origin({ONE: names}, slot=SlotPosition(at(40), ONE))) == segment(44)


HISTORY = parse_history(TWO, f"1\t{at(30, 100)}\tpromoted\n")


def test_a_timeline_that_is_not_yet_whole_is_finished_first():
    assert first_choice(origin({ONE: whole(20, 25)}, history=HISTORY, timeline=TWO)) == segment(26)


def test_a_timeline_that_is_whole_is_left_for_the_next():
    pieces = f"{segment(30).name}.piece-00000000-00000064"
    got = first_choice(origin({ONE: [*whole(20, 29), pieces]}, history=HISTORY, timeline=TWO))
    assert got == segment(30, TWO)


def test_fault_12_what_lies_beyond_the_switch_does_not_count():
    assert first_choice(origin({ONE: whole(20, 40)}, history=HISTORY, timeline=TWO)) == segment(30, TWO)


def test_the_newest_timeline_of_the_archive_decides():
    archived = {ONE: whole(20, 29), TWO: whole(30, 35, TWO)}
    assert first_choice(origin(archived, history=HISTORY, timeline=TWO)) == segment(36, TWO)


def test_the_later_choices():
    one = origin({ONE: whole(1, 2)}, slot=SlotPosition(at(40, 9), ONE))
    assert (second_choice(one), last_choice(one)) == (segment(40), segment(50))
    assert second_choice(origin({ONE: whole(1, 2)})) == segment(50)


def test_a_timeline_without_wal_is_nothing():
    assert survey_timeline(listed("00000002.history"), SIZE) is None


@pytest.mark.parametrize(
    ("names", "is_it"),
    [
        ("", False),
        ("holdfast_db", True),
        ("other, HOLDFAST_DB", True),
        ("FIRST 1 (a, holdfast_db)", True),
        ("ANY 2 (a, b, c)", False),
        ("2 (holdfast_db, b)", True),
        ('"holdfast_db"', True),
        ("*", True),
        ("holdfast_db2", False),
    ],
)
def test_whether_it_is_a_synchronous_standby(names, is_it):
    assert is_named(names, "holdfast_db") is is_it
