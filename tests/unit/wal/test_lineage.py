"""Which timeline comes from which, from histories that are there, told by others, or missing."""

from __future__ import annotations

from tests.unit.wal.worlds import history_of

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline, first_history
from holdfast.wal.lineage import Branch, trace_lineage

SIZE = 1 << 20


def test_ancestors_are_told_by_descendants():
    grandchild = history_of((1, 100), (7, 200), (300, None))
    lineage = trace_lineage({Timeline(300): grandchild}, [Timeline(300)], [])
    assert lineage.history(Timeline(7)) == history_of((1, 100), (7, None))
    assert lineage.history(Timeline(1)) == first_history()
    assert list(lineage.branches()) == [
        Branch(Timeline(1), Timeline(7), Lsn(100)),
        Branch(Timeline(7), Timeline(300), Lsn(200)),
    ]


def test_its_own_history_wins_over_what_a_descendant_tells():
    own, child = history_of((1, 100), (7, None)), history_of((1, 101), (7, 200), (8, None))
    lineage = trace_lineage({Timeline(7): own, Timeline(8): child}, [], [])
    assert lineage.history(Timeline(7)) == own


def test_a_timeline_of_which_nothing_is_told_stands_alone():
    lineage = trace_lineage({}, [Timeline(4)], [Timeline(4), Timeline(1)])
    assert lineage.history(Timeline(4)) == history_of((4, None))
    assert lineage.history(Timeline(9)) == history_of((9, None))
    assert lineage.missing == {4}
    assert list(lineage.branches()) == []


def test_the_first_of_two_switches_within_a_segment_bounds_what_a_partial_segment_holds():
    histories = {
        Timeline(2): history_of((1, 3 * SIZE + 500), (2, None)),
        Timeline(3): history_of((1, 3 * SIZE + 400), (3, None)),
        Timeline(4): history_of((1, 5 * SIZE), (4, None)),
    }
    assert trace_lineage(histories, [], []).switch_offsets(SIZE) == {Timeline(1): {3: 400}}
