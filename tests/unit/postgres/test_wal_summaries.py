"""Blocks that summaries name, against plain sets; and how far summaries reach without a gap."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.wal_summaries import LsnRange, NamedBlocks, RelationNumber, covered_until

SEGMENT = 16
TABLE, OTHER = RelationNumber(1663, 5, 100), RelationNumber(1663, 5, 101)
written = st.lists(
    st.tuples(
        st.sampled_from([TABLE, OTHER]),
        st.integers(0, 3),
        st.lists(st.integers(0, SEGMENT - 1), min_size=1, max_size=9),
    ),
    max_size=9,
)
limits = st.lists(st.tuples(st.sampled_from([TABLE, OTHER]), st.integers(0, 4 * SEGMENT)), max_size=3)
ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12)


@given(written, limits)
def test_what_was_written_or_lies_behind_a_limit_is_named_and_nothing_else(writes, cuts) -> None:
    named, expected = NamedBlocks(SEGMENT), {TABLE: set(), OTHER: set()}
    for relation, segment, blocks in writes:
        named.add_written(relation, segment, np.array(blocks))
        expected[relation] |= {segment * SEGMENT + block for block in blocks}
    for relation, block in cuts:
        named.add_limit(relation, block)
        expected[relation] |= set(range(block, 5 * SEGMENT))
    for relation, blocks in expected.items():
        for segment in range(5):
            for count in (0, 3, SEGMENT):
                wanted = [segment * SEGMENT + block in blocks for block in range(count)]
                assert named.of(relation, segment, count).tolist() == wanted


def test_a_database_made_of_copied_files_is_named_whole() -> None:
    named = NamedBlocks(SEGMENT)
    named.add_limit(RelationNumber(1663, 5, 0), 0)
    assert named.of(TABLE, 2, SEGMENT).all()
    assert not named.of(TABLE._replace(database=6), 2, SEGMENT).any()
    assert not named.of(TABLE._replace(tablespace=1700), 2, SEGMENT).any()


@given(ranges, st.integers(0, 40))
def test_summaries_reach_as_far_as_each_byte_is_in_one(found, start: int) -> None:
    in_order = sorted(LsnRange(Lsn(first), Lsn(first + length)) for first, length in found)
    covered = {position for each in in_order for position in range(each.start, each.end)}
    reached = start
    while reached in covered:
        reached += 1
    assert covered_until(in_order, Lsn(start)) == reached
