"""Looking into a snapshot gives what reading it whole would give, and reads less."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePosixPath
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.building import back_up, make_repository, write_tree

from holdfast.repository.browse import SnapshotTree, read_content
from holdfast.repository.manifest import Entry, EntryKind, Leaf
from holdfast.repository.names import ROOT
from holdfast.storage.memory import MemoryStorage

NAMES = st.text(st.sampled_from("ab0-. "), min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


class LeavesOnly:
    """Stands for a reader: chunks are leaves, by number; counts which are read."""

    def __init__(self, paths: list[bytes], cuts: list[int]) -> None:
        bounds = [0, *cuts, len(paths)]
        parts = [paths[start:end] for start, end in pairwise(bounds) if start < end]
        self.chunks = {b"%032d" % n: [_entry(path) for path in part] for n, part in enumerate(parts)}
        self.root = [Leaf(part[0], b"%032d" % n, len(part)) for n, part in enumerate(parts)]
        self.were_read: list[bytes] = []

    def read(self, chunk: bytes) -> bytes:
        return msgspec.msgpack.encode(self.root)

    def read_many(self, chunks: list[bytes]):
        for chunk in chunks:
            self.were_read.append(chunk)
            yield msgspec.msgpack.encode(self.chunks[chunk])


def _entry(path: bytes) -> Entry:
    return Entry(path, EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, 0)


def tree_of(paths: list[bytes], cuts: list[int]) -> tuple[SnapshotTree, LeavesOnly]:
    reader = LeavesOnly(paths, cuts)
    return SnapshotTree(reader, SimpleNamespace(manifest=b"root")), reader


@st.composite
def trees(draw) -> tuple[list[bytes], list[int]]:
    """Return the sorted paths of a tree with all directories above each, and where its leaves are cut."""
    found = {ROOT.decode()}
    for path in draw(st.lists(PATHS, max_size=20)):
        found |= {path, *map(str, PurePosixPath(path).parents)}
    paths = sorted(path.encode() for path in found)
    return paths, sorted(draw(st.sets(st.integers(1, len(paths)), max_size=8)))


@given(trees(), st.data())
def test_a_part_of_the_tree_is_found_without_the_rest(tree, data):
    paths, cuts = tree
    browsed, _ = tree_of(paths, cuts)
    directory = data.draw(st.sampled_from(paths))
    prefix = b"" if directory == ROOT else directory + b"/"
    below = [path for path in paths if path.startswith(prefix) and path != ROOT]
    assert [entry.path for entry in browsed.entries()] == paths
    assert [entry.path for entry in browsed.below(directory)] == below
    assert [entry.path for entry in browsed.children(directory)] == [
        path for path in below if b"/" not in path.removeprefix(prefix)
    ]
    assert browsed.entry(directory).path == directory
    assert browsed.entry(directory + b"!") is None


def test_leaves_that_cannot_hold_what_is_asked_for_are_not_read():
    paths = sorted(f"{top}/{n:03}".encode() for top in "abc" for n in range(100))
    tree, reader = tree_of(paths, list(range(10, 300, 10)))
    assert tree.entry(b"b/055").path == b"b/055"
    assert len(reader.were_read) == 1
    reader.were_read.clear()
    assert len(list(tree.below(b"b"))) == 100
    assert len(reader.were_read) <= 11
    reader.were_read.clear()
    assert list(tree.children(ROOT)) == []
    assert len(reader.were_read) <= 3


@pytest.mark.parametrize("size", [0, 1, 5000, (1 << 20) + 1, 40 << 20])
def test_content_comes_back_in_pieces(size: int, tmp_path):
    content = bytes(range(251)) * (size // 251 + 1)
    write_tree(tmp_path, {"file": content[:size], "other": b"x" * 10})
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, tmp_path)
    reader = repository.reader()
    entry = SnapshotTree(reader, snapshot).entry(b"file")
    assert b"".join(read_content(reader, entry)) == content[:size]


def test_holes_come_back_as_zeros(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"in the middle")
        file.truncate(12 << 20)
    repository = make_repository(MemoryStorage())
    reader = repository.reader
    snapshot = back_up(repository, tmp_path)
    entry = SnapshotTree(reader(), snapshot).entry(b"file")
    assert len(entry.extents) < 48 * 4, "there is no hole in this"
    assert b"".join(read_content(reader(), entry)) == (tmp_path / "file").read_bytes()
