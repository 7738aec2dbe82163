"""A plan believes nothing that a host could have stored wrongly, on purpose or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.unit.repository.building import capture_into, commit, make_repository, sources_of
from tests.unit.restore.test_tree import PlainLayout

from holdfast.errors import DamageError
from holdfast.repository.compression import ContentClass
from holdfast.repository.file_extents import load_extents, store_extents
from holdfast.repository.writer import WriterOptions
from holdfast.restore.plan import Room, with_freed
from holdfast.restore.run import RestoreOptions, plan_restore
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("moved_bytes", [0, 1, 5000, 2**32 - 5001])
def test_extents_that_pass_the_end_of_their_chunk_are_refused(tmp_path: Path, moved_bytes: int) -> None:
    """What lies there in memory would be a part of another chunk."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "last").write_bytes(b"x" * 5000)
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        capture = capture_into(writer, sources_of(source))
        (entry,) = capture.entries
        extents = load_extents(entry, lambda _: b"").copy()
        extents["chunk_offset"] += moved_bytes
        inline, listed = store_extents(extents, lambda content: writer.put(ContentClass.METADATA, [content])[0])
        capture.entries[:] = [msgspec.structs.replace(entry, extents=inline, extent_chunks=listed)]
        snapshot = commit(repository, writer, capture)
    layout = PlainLayout(tmp_path / "target")
    if moved_bytes:
        with pytest.raises(DamageError, match="last: its extents pass the end of a chunk"):
            plan_restore(repository, snapshot, layout, RestoreOptions())
    else:
        plan_restore(repository, snapshot, layout, RestoreOptions())


def test_what_is_deleted_before_counts_as_free(tmp_path: Path) -> None:
    left = tmp_path / "left"
    (left / "base").mkdir(parents=True)
    (left / "base" / "file").write_bytes(b"x" * (1 << 20))
    (room,) = with_freed([Room(tmp_path, needed_bytes=0, free_bytes=100)], [left, tmp_path / "gone already"])
    assert 100 + (1 << 20) <= room.free_bytes < 100 + (2 << 20)
