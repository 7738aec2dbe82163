"""Groups that need a little each of a pack fetch it once between them, within a bound of memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.building import make_repository

from holdfast.repository.compression import ContentClass
from holdfast.repository.packer import PACK_BYTES
from holdfast.repository.writer import WriterOptions
from holdfast.restore import windows
from holdfast.restore.windows import Windows
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from holdfast.repository.reader import ChunkReader
    from holdfast.storage.base import Buffer

CHUNKS = 60


class Counting(MemoryStorage):
    """A storage that counts how often each byte behind a pack's header was read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int, int]] = []

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return what is asked for, and remember it."""
        if name.startswith("packs/data/") and offset > 0 and length is not None:
            self.reads.append((name, offset, length))
        return super().get(name, offset=offset, length=length)

    def most_often(self) -> int:
        """Return how often the byte was read that was read most often."""
        counts = {name: np.zeros(PACK_BYTES, dtype=np.uint8) for name, *_ in self.reads}
        for name, offset, length in self.reads:
            counts[name][offset : offset + length] += 1
        return max((int(count.max()) for count in counts.values()), default=0)


@pytest.fixture(scope="module")
def stored() -> tuple[Counting, ChunkReader, list[bytes], np.ndarray]:
    """Chunks of up to 20,000 bytes in a few packs, and the index row of each."""
    storage, chance = Counting(), random.Random(5)
    repository = make_repository(storage)
    chunks = [chance.randbytes(chance.randint(1, 20_000)) for _ in range(CHUNKS)]
    ids = []
    for at in range(0, CHUNKS, 20):
        writer, _ = repository.writer("shop", "db", WriterOptions())
        with writer:
            ids += writer.put(ContentClass.FILE, chunks[at : at + 20])
            writer.flush()
    reader = repository.reader()
    return storage, reader, chunks, reader.rows(ids)


def fetched(reader: ChunkReader, rows: np.ndarray, group: np.ndarray) -> dict[int, bytes]:
    """Fetch all rows, group by group; return the plaintext of each."""
    order = np.argsort(rows, kind="stable")
    made = Windows(reader, rows[order], group[order])
    found: dict[int, bytes] = {}
    for number in np.unique(group).tolist():
        for fetch in made.fetches(rows[group == number]):
            with fetch.content(reader) as content:
                for row, chunk, frame, sealed in reader.sealed(fetch.span, content):
                    assert row not in found
                    cipher = reader.cipher(fetch.span.pack)
                    found[row] = bytes(reader.opener.open(cipher, frame, chunk, sealed))
    return found


@given(
    groups=st.lists(st.integers(0, 4), min_size=CHUNKS, max_size=CHUNKS),
    unwanted=st.sets(st.integers(0, CHUNKS - 1)),
    window_bytes=st.sampled_from([1, 10_000, 100_000, 1 << 20]),
    held_bytes=st.sampled_from([0, 50_000, 1 << 30]),
)
def test_every_row_is_given_once_with_its_bytes(stored, groups, unwanted, window_bytes, held_bytes) -> None:
    _, reader, chunks, rows = stored
    wanted = [at for at in range(CHUNKS) if at not in unwanted]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_BYTES", window_bytes)
        patch.setattr(windows, "HELD_BYTES", held_bytes)
        found = fetched(reader, rows[wanted], np.array(groups)[wanted])
    assert found == {int(rows[at]): chunks[at] for at in wanted}


def test_what_groups_share_is_read_once_and_let_go(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, reader, _, rows = stored
    made = []
    monkeypatch.setattr(windows, "_Room", lambda room=windows._Room: made.append(room()) or made[-1])
    storage.reads.clear()
    fetched(reader, rows, np.arange(CHUNKS) % 7)
    assert len(storage.reads) == 3, "a window holds a whole pack here"
    assert storage.most_often() == 1
    assert made[0]._free == windows.HELD_BYTES, "what was used up is held no more"


def test_no_more_is_held_than_there_is_room_for(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, reader, _, rows = stored
    monkeypatch.setattr(windows, "HELD_BYTES", 0)
    monkeypatch.setattr(windows, "GAP_BYTES", 0)
    storage.reads.clear()
    fetched(reader, rows, np.arange(CHUNKS) % 2)
    assert len(storage.reads) >= 6, "each of the two groups fetches its own from three packs"
