"""A segment fills in order, whatever the lengths of what comes; a large one lies in a file that nobody else sees."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StorageError, VerificationError
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline
from holdfast.wal.segment_buffer import IN_MEMORY_LIMIT_BYTES, SegmentBuffer

SIZE = 1 << 20


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=10))
def test_it_fills_and_gives_back_what_belongs_to_the_next(lengths):
    segment = Segment(Timeline(1), 3, SIZE)
    content = os.urandom(sum(lengths))
    buffer, done = SegmentBuffer(segment, Path("/nonexistent")), 0
    for length in lengths:
        rest = buffer.append(segment.start + done, memoryview(content)[done : done + length])
        done += length - len(rest)
        if rest:
            break
    assert buffer.received == done == min(len(content), SIZE)
    assert buffer.is_full == (done == SIZE)
    assert b"".join(map(bytes, buffer.part(0, done).frames())) == content[:done]
    assert buffer.position == segment.start + done


def test_bytes_that_do_not_follow_are_refused(tmp_path):
    segment = Segment(Timeline(1), 3, SIZE)
    buffer = SegmentBuffer(segment, tmp_path)
    with pytest.raises(VerificationError, match="was to come"):
        buffer.append(segment.start + 1, memoryview(b"x"))


def test_a_large_one_lies_in_a_file_without_a_name(tmp_path):
    segment = Segment(Timeline(1), 3, IN_MEMORY_LIMIT_BYTES * 2)
    buffer = SegmentBuffer(segment, tmp_path)
    buffer.append(segment.start, memoryview(b"first"))
    buffer.let_go()
    assert b"".join(map(bytes, buffer.part(0, 5).frames())) == b"first"
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StorageError, match="no room for a segment"):
        SegmentBuffer(Segment(Timeline(1), 3, IN_MEMORY_LIMIT_BYTES * 2), tmp_path / "missing")
