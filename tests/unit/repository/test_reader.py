"""The reader plans spans that cover each wanted row exactly once, and gives back what was asked, in order."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.building import make_plain_repository, make_repository

from holdfast.errors import DamageError
from holdfast.model import new_object_id
from holdfast.repository.compression import ContentClass
from holdfast.repository.index import ChunkIndex, ChunkRecords, IndexedPack, chunk_words
from holdfast.repository.keys import Keys
from holdfast.repository.pack import PackKind, PackRef
from holdfast.repository.reader import GAP_BYTES, SPAN_BYTES, ChunkReader
from holdfast.repository.writer import WriterOptions
from holdfast.storage.base import Buffer
from holdfast.storage.memory import MemoryStorage

# (gap before, stored length): small and large ones around the limits
frames = st.tuples(
    st.sampled_from([0, 0, 0, 1, GAP_BYTES, GAP_BYTES + 1, SPAN_BYTES]),
    st.sampled_from([1, 100, 1 << 20, 4 << 20, SPAN_BYTES]),
)
packs_of_frames = st.lists(st.lists(frames, max_size=12), min_size=1, max_size=3)


def reader_over(packs: list[list[tuple[int, int]]]) -> ChunkReader:
    """Return a reader over an index of packs that lie nowhere."""
    indexed, rows = [], []
    for number, pack in enumerate(packs):
        at = 100
        for gap, stored in pack:
            rows.append((len(rows), number, at + gap, stored, 1))
            at += gap + stored
        indexed.append(IndexedPack(PackRef(PackKind.DATA, new_object_id()), at, bytes(32)))
    words = chunk_words([(row[0] * 7919 % 1009).to_bytes(32, "big") for row in rows])
    columns = [np.array([row[at] for row in rows], dtype="<u4") for at in range(1, 5)]
    return ChunkReader(MemoryStorage(), Keys("ab" * 16, None), ChunkIndex([(indexed, ChunkRecords(words, *columns))]))


@given(packs=packs_of_frames, data=st.data())
def test_spans_cover_each_wanted_row_once_and_never_overlap(packs: list[list[tuple[int, int]]], data) -> None:
    reader = reader_over(packs)
    count = len(reader.index)
    wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=2 * count)) if count else []
    spans = reader.spans(np.array(wanted, dtype=np.int64))
    assert sorted(row for span in spans for row in span.rows.tolist()) == sorted(set(wanted))
    ends: dict[str, int] = {}
    for span in spans:
        assert span.offset >= ends.get(span.pack.ref.id, 0)
        ends[span.pack.ref.id] = span.offset + span.length
        places = [reader.index.place(row) for row in span.rows.tolist()]
        assert {place.pack for place in places} == {span.pack}
        assert places[0].frame.offset == span.offset
        assert max(place.frame.offset + place.frame.stored for place in places) == span.offset + span.length
        assert span.length <= SPAN_BYTES or len(span.rows) <= 1 or span.length <= 2 * SPAN_BYTES


@pytest.mark.parametrize("make", [make_repository, make_plain_repository])
def test_chunks_come_back_in_the_order_asked_for(make) -> None:
    repository = make(MemoryStorage())
    chunks = [b"chunk %d " % number * 50 for number in range(600)]
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        ids = writer.put(ContentClass.FILE, chunks)
        writer.flush()
    asked = [*list(range(0, 600, 7)), 5, 5, 3, *list(range(599, 0, -3))]
    reader = repository.reader()
    assert list(reader.read_many([ids[at] for at in asked])) == [chunks[at] for at in asked]
    assert reader.read(ids[9]) == chunks[9]


def test_open_into_gives_what_open_gives() -> None:
    repository = make_repository(MemoryStorage())
    chunks = [b"compressible " * 500, np.random.default_rng(1).bytes(5000), b"x"]
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        ids = writer.put(ContentClass.FILE, chunks)
        writer.flush()
    reader = repository.reader()
    found = {}
    for span in reader.spans(reader.rows(ids)):
        for _, chunk, frame, sealed in reader.sealed(span, reader.fetch(span)):
            out = bytearray(frame.plain)
            reader.opener.open_into(reader.cipher(span.pack), frame, chunk, sealed, memoryview(out))
            found[chunk] = bytes(out)
    assert [found[chunk] for chunk in ids] == chunks


def test_a_chunk_that_nothing_holds_is_named() -> None:
    with pytest.raises(DamageError, match="chunk 4141414141414141"):
        make_repository(MemoryStorage()).reader().read(b"A" * 32)


class WaitingStorage(MemoryStorage):
    """Answers a reader of packs only when another one waits, too: one at a time would wait for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.company = threading.Barrier(2, timeout=30)
        self.is_waiting = False

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Wait for company, then answer."""
        if self.is_waiting:
            self.company.wait()
        return super().get(name, offset=offset, length=length)


def test_what_lies_in_several_packs_is_fetched_side_by_side() -> None:
    storage = WaitingStorage()
    repository = make_plain_repository(storage)
    ids = []
    for chunk in (b"one", b"two"):
        writer, _ = repository.writer("shop", "db", WriterOptions())
        with writer:
            ids.append(writer.put_metadata(chunk))
            writer.flush()
    reader = repository.reader()
    storage.is_waiting = True
    assert list(reader.read_many(ids)) == [b"one", b"two"]
