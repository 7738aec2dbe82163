"""What a restore asks of the storage: no byte of a pack twice, and each pack from its beginning to its end."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.building import make_repository
from tests.unit.restore.test_tree import PlainLayout, back_up

from holdfast.progress import Silence
from holdfast.repository import chunker, intake, packer
from holdfast.restore.run import RestoreOptions, plan_restore, run_restore
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.storage.base import Buffer


class Remembering(MemoryStorage):
    """A storage that remembers what was read of each pack of data, in the order of the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._remembering = threading.Lock()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return what is asked for, and remember it."""
        found = super().get(name, offset=offset, length=length)
        if name.startswith("packs/data/") and length is not None and offset > 0:
            with self._remembering:
                self.reads[name].append((offset, offset + length))
        return found


@pytest.mark.parametrize("threads", [1, 3])
def test_no_byte_is_fetched_twice_and_packs_are_read_in_order(tmp_path: Path, monkeypatch, threads: int) -> None:
    for module in (chunker, intake):
        monkeypatch.setattr(module, "CHUNK_BYTES", 16 << 10)
    monkeypatch.setattr(packer, "PACK_BYTES", 100 << 10)
    source = tmp_path / "source"
    source.mkdir()
    noise = random.Random(1).randbytes(300_000)
    for name, content in [("a", noise), ("b", noise[: 64 << 10] * 2), ("c", b"small"), ("z", noise[::-1])]:
        (source / name).write_bytes(content)
    (source / "last").write_text("what makes it start")
    storage = Remembering()
    repository = make_repository(storage)
    snapshot = back_up(repository, source)

    storage.reads.clear()
    layout, options = PlainLayout(tmp_path / "target"), RestoreOptions(threads=threads)
    plan, reader = plan_restore(repository, snapshot, layout, options)
    run_restore(repository, plan, reader, options, Silence())
    for name in ("a", "b", "c", "z"):
        assert (tmp_path / "target" / name).read_bytes() == (source / name).read_bytes()
    assert len(storage.reads) >= 2, "the tree must fill several packs"
    for reads in storage.reads.values():
        in_order = sorted(reads)
        assert all(end <= start for (_, end), (start, _) in pairwise(in_order))
        assert threads > 1 or reads == in_order
