"""The parent of a backup: what looks unchanged is taken from it, unless it is gone, young, or another file."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.unit.repository.building import back_up, make_repository, reopen, sources_of, write_tree

from holdfast.repository import file_extents, packer
from holdfast.repository.compression import ContentClass
from holdfast.repository.manifest import Entry
from holdfast.repository.parent import NO_PARENT, Parent, load_parent
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.repository import Repository

OLD = 1_000_000_000
LATER = "2999-01-01T00:00:00+00:00"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file, and a large one whose extents are stored apart, both of long ago."""
    monkeypatch.setattr(file_extents, "INLINE_EXTENTS", 1)
    monkeypatch.setattr(packer, "PACK_BYTES", 1 << 20)
    write_tree(tmp_path, {"small": b"small", "large": random.Random(1).randbytes(3 << 20)})
    for name in ("small", "large"):
        os.utime(tmp_path / name, (OLD, OLD))
    return tmp_path


def parent_of(repository: Repository) -> Parent:
    """Load the last snapshot as a parent."""
    snapshot = repository.snapshots()[-1]
    reader = repository.reader()
    # what is young is not trusted, and ctime cannot be set: let the backup have been later
    later = msgspec.structs.replace(snapshot, started=LATER, ended=LATER)
    return load_parent(later, repository.entries(reader, snapshot), reader)


def entries(tree: Path) -> dict[bytes, Entry]:
    """Return the entries that a scan finds."""
    return {source.entry.path: source.entry for source in sources_of(tree)}


def test_what_is_unchanged_is_taken_with_its_content(tree: Path) -> None:
    repository = make_repository(MemoryStorage())
    back_up(repository, tree, content_class=ContentClass.RELATION)
    parent = parent_of(repository)
    for path, entry in entries(tree).items():
        reused = parent.reuse(entry)
        assert reused is not None
        assert bool(reused.extent_chunks) == (path == b"large")
        assert bool(reused.extents) == (path == b"small")
        assert reused is parent.entry(path)  # of a million files, one list in memory and not two


@pytest.mark.parametrize("change", [{"mode": 0o640}, {"uid": 12345}, {"user": "x"}, {"xattrs": {b"user.a": b"b"}}])
def test_what_is_unchanged_but_for_its_owner_is_as_it_is_now(tree: Path, change: dict[str, object]) -> None:
    repository = make_repository(MemoryStorage())
    back_up(repository, tree)
    parent = parent_of(repository)
    entry = msgspec.structs.replace(entries(tree)[b"small"], **change)
    known = parent.entry(b"small")
    assert known is not None
    assert parent.reuse(entry) == msgspec.structs.replace(known, **change)


@pytest.mark.parametrize("change", [{"size": 1}, {"mtime_ns": 1}, {"ctime_ns": 1}, {"inode": 1}, {"path": b"other"}])
def test_another_file_is_read(tree: Path, change: dict[str, object]) -> None:
    repository = make_repository(MemoryStorage())
    back_up(repository, tree)
    entry = msgspec.structs.replace(entries(tree)[b"small"], **change)
    assert parent_of(repository).reuse(entry) is None


def test_what_was_young_when_the_parent_was_taken_is_read(tree: Path) -> None:
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, tree)  # ctime is of this moment
    reader = repository.reader()
    assert load_parent(snapshot, repository.entries(reader, snapshot), reader).reuse(entries(tree)[b"small"]) is None


def test_fault_28_what_was_young_by_a_clock_that_was_set_back_meanwhile_is_read(tree: Path) -> None:
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, tree)
    snapshot = msgspec.structs.replace(snapshot, started=LATER)
    reader = repository.reader()
    assert load_parent(snapshot, repository.entries(reader, snapshot), reader).reuse(entries(tree)[b"small"]) is None


def test_no_parent_has_nothing(tree: Path) -> None:
    assert all(NO_PARENT.reuse(entry) is None for entry in entries(tree).values())
    assert NO_PARENT.facts == {}


def test_a_file_of_which_any_chunk_is_gone_is_read(tree: Path) -> None:
    storage = MemoryStorage()
    back_up(make_repository(storage), tree, content_class=ContentClass.RELATION)
    packs = {info.name: bytes(storage.get(info.name)) for info in storage.list("packs/data")}
    assert len(packs) >= 3
    lost_of: list[set[bytes]] = []
    for name, data in packs.items():
        storage.delete(name)
        parent = parent_of(reopen(storage))
        lost_of.append({path for path, entry in entries(tree).items() if parent.reuse(entry) is None})
        storage.put(name, data)
    assert all(lost_of)
    assert set().union(*lost_of) == {b"large", b"small"}
