"""CRCs of many records at once are those of each alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.postgres.crc32c import crc32c
from holdfast.postgres.walcrc import record_checksums


@settings(deadline=None)
@given(
    st.binary(min_size=800, max_size=2000),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from([24, 25, 34, 41, 512, 513, 600])), max_size=60),
)
def test_many_sums_are_those_of_each_alone(content, records):
    offsets = np.array([offset for offset, _ in records], np.int64)
    lengths = np.array([length for _, length in records], np.int64)
    sums = record_checksums(np.frombuffer(content, np.uint8), offsets, lengths)
    assert sums.tolist() == [
        crc32c(content[offset + 24 : offset + length] + content[offset : offset + 20]) for offset, length in records
    ]


def test_none_at_all_have_no_sum():
    nothing = np.empty(0, np.int64)
    assert len(record_checksums(np.empty(0, np.uint8), nothing, nothing)) == 0
