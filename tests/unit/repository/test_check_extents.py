"""Chunks of a list of extents are looked up once each, and none for another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.repository.check.extents import _distinct
from holdfast.repository.index import chunk_words

ids = st.tuples(st.sampled_from([b"a" * 8, b"b" * 8, b"c" * 8]), st.sampled_from([b"x" * 24, b"x" * 23 + b"y"]))


@given(chosen=st.lists(ids, max_size=20))
def test_each_extent_finds_its_own_chunk_even_among_ids_that_begin_alike(chosen: list[tuple[bytes, bytes]]) -> None:
    chunks = [head + tail for head, tail in chosen]
    words, which = _distinct(chunk_words(chunks))
    assert [words[at].tobytes() for at in which.tolist()] == chunks
    if len({chunk[:8] for chunk in chunks}) == len(set(chunks)):
        assert len(words) == len(set(chunks))
