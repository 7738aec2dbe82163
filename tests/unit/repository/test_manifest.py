"""Manifests: they come back, and what has not changed costs nothing again."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.model import ChunkId
from holdfast.repository.manifest import (
    Entry,
    EntryKind,
    load_entries,
    load_leaves,
    storable_time,
    store_manifest,
)


class Chunks:
    """A plain store of chunks that counts nothing twice."""

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def put(self, data: bytes) -> ChunkId:
        """Store a chunk under its hash."""
        chunk = ChunkId(hashlib.sha256(data).digest())
        self.known[chunk] = data
        return chunk


def entry(path: bytes, **changes: object) -> Entry:
    """Return an entry with a path."""
    base = Entry(path, EntryKind.FILE, 0o640, 1, 2, "user", "group", 3, 4, 5, 6)
    return msgspec.structs.replace(base, **changes)


def read_manifest(chunks: Chunks, root: ChunkId) -> list[Entry]:
    """Return the entries behind a root."""
    leaves = load_leaves(chunks.known[root])
    return [entry for leaf in leaves for entry in load_entries(chunks.known[leaf.chunk])]


sixty_four = st.integers(-(2**63), 2**63 - 1)
entries = st.builds(
    Entry, st.binary(min_size=1, max_size=20), st.sampled_from(EntryKind), st.integers(0, 0o7777),
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.text(max_size=5), st.text(max_size=5), sixty_four,
    sixty_four, st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=9),
    st.dictionaries(st.binary(max_size=5), st.binary(max_size=5), max_size=2), st.binary(max_size=96),
    st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple),
)  # fmt: skip


@given(listed=st.lists(entries, max_size=60, unique_by=lambda entry: entry.path))
def test_a_manifest_comes_back(listed: list[Entry]) -> None:
    chunks = Chunks()
    ordered = sorted(listed, key=lambda entry: entry.path)
    assert read_manifest(chunks, store_manifest(ordered, chunks.put)) == ordered


def test_leaves_name_their_first_path_and_length() -> None:
    chunks = Chunks()
    root = store_manifest([entry(b"%06d" % number) for number in range(5000)], chunks.put)
    leaves = load_leaves(chunks.known[root])
    assert len(leaves) > 5
    for leaf in leaves:
        inside = load_entries(chunks.known[leaf.chunk])
        assert (inside[0].path, len(inside)) == (leaf.first_path, leaf.entries)


@given(at=st.integers(0, 9999), count=st.integers(1, 40))
def test_an_insertion_leaves_all_other_leaves_alone(at: int, count: int) -> None:
    chunks = Chunks()
    before = [entry(b"dir/%06d" % number) for number in range(10_000)]
    store_manifest(before, chunks.put)
    known = len(chunks.known)
    inserted = [entry(b"dir/%06d-%02d" % (at, number)) for number in range(count)]
    store_manifest([*before[: at + 1], *inserted, *before[at + 1 :]], chunks.put)
    assert len(chunks.known) - known <= 4  # the root, and the leaf that was hit, cut once or twice at most


@pytest.mark.parametrize("size", [-1, 1 << 63])
def test_a_size_that_no_file_has_is_damage(size: int) -> None:
    with pytest.raises(DamageError, match=r"\[0\]\[10\]"):
        load_entries(msgspec.msgpack.encode([entry(b"f", size=size)]))


def test_entries_out_of_order_or_twice_are_a_fault_of_the_caller() -> None:
    for paths in ((b"b", b"a"), (b"a", b"a")):
        with pytest.raises(ValueError, match="out of order"):
            store_manifest([entry(path) for path in paths], Chunks().put)


@given(junk=st.binary(max_size=60))
def test_junk_is_damage_or_a_list(junk: bytes) -> None:
    for load in (load_leaves, load_entries):
        try:
            assert isinstance(load(junk), tuple)
        except DamageError:
            continue


IMPOSSIBLE = {
    "mode": [-1, 0o10000],
    "uid": [-1, 2**32],
    "gid": [-1, 2**32],
    "mtime_ns": [2**63],
    "ctime_ns": [2**63],
    "inode": [-1],
    "size": [-1, 2**63],
    "extent_chunks": [(b"",), (bytes(31),), (bytes(33),)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values])
def test_what_no_file_system_has_is_damage(name: str, value: object) -> None:
    """Whoever can seal metadata can store it: each was an internal error of a restore, of ls or of a check."""
    with pytest.raises(DamageError, match="cannot be read"):
        load_entries(msgspec.msgpack.encode([entry(b"a", **{name: value})]))


@pytest.mark.parametrize("leaf", [[b"a", bytes(31), 1], [b"a", b"", 1], [b"a", bytes(32), 0], [b"a", bytes(32), -1]])
def test_a_leaf_that_cannot_be_is_damage(leaf: list[object]) -> None:
    with pytest.raises(DamageError, match="cannot be read"):
        load_leaves(msgspec.msgpack.encode([leaf]))


@given(st.integers(-(2**80), 2**80))
def test_any_time_of_a_file_can_be_stored(time_ns: int) -> None:
    """A file may be of the year 30000; a backup of it ended with an internal error."""
    stored = storable_time(time_ns)
    assert load_entries(msgspec.msgpack.encode([entry(b"a", mtime_ns=stored)]))[0].mtime_ns == stored
    assert stored == time_ns or abs(stored) < abs(time_ns)
