"""A plan believes nothing that a host could have stored wrongly, on purpose or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.unit.repository.building import capture_into, commit, make_repository, sources_of
from tests.unit.restore.test_tree import PlainLayout

from holdfast.errors import DamageError
from holdfast.progress import Silence
from holdfast.repository.compression import ContentClass
from holdfast.repository.file_extents import load_extents, store_extents
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.sources import Capture
from holdfast.repository.writer import WriterOptions
from holdfast.restore.plan import Room, with_freed
from holdfast.restore.run import RestoreOptions, plan_restore, run_restore
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


@pytest.mark.parametrize("kind", [None, EntryKind.DIRECTORY, EntryKind.SYMLINK])
def test_a_snapshot_without_the_file_that_comes_last_is_refused(tmp_path: Path, kind: EntryKind | None) -> None:
    """A host may store any list of files: it was an internal error after all was written."""
    repository = make_repository(MemoryStorage())
    entries = [Entry(b"other", EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, 0)]
    if kind is not None:
        link = b"elsewhere" if kind is EntryKind.SYMLINK else b""
        entries.append(msgspec.structs.replace(entries[0], path=b"last", kind=kind, link=link))
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        snapshot = commit(repository, writer, Capture(entries=entries))
    with pytest.raises(DamageError, match="it holds no last, without which nothing starts"):
        plan_restore(repository, snapshot, PlainLayout(tmp_path / "target"), RestoreOptions())


def test_an_incomplete_snapshot_that_does_not_say_what_is_missing_is_restored(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "last").write_text("what makes it start")
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        snapshot = commit(repository, writer, capture_into(writer, sources_of(source)), is_complete=False)
    layout = PlainLayout(tmp_path / "target")
    plan, reader = plan_restore(repository, snapshot, layout, RestoreOptions())
    told = Warnings()
    run_restore(repository, plan, reader, RestoreOptions(), told)
    assert told.heard == [f"snapshot {snapshot.short_id} is incomplete; missing: it does not say what"]
    assert (layout.target / "last").exists()


class Warnings(Silence):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def warning(self, text: str) -> None:
        """Keep it."""
        self.heard.append(text)
