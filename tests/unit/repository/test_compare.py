"""The difference of two snapshots is that of the trees they were made of."""

from __future__ import annotations

import os
import shutil

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.repository.building import back_up, commit, make_repository, tree_content, write_tree

from holdfast.repository.compare import compare_snapshots
from holdfast.repository.compression import ContentClass
from holdfast.repository.extent_list import encode_list
from holdfast.repository.extents import lay_over
from holdfast.repository.manifest import EXTENT_DTYPE, Entry, EntryKind
from holdfast.repository.sources import Capture
from holdfast.repository.writer import WriterOptions
from holdfast.storage.memory import MemoryStorage

FILES = st.dictionaries(
    st.sampled_from(["a", "b", "c/d", "c/e", "f", "g"]), st.binary(max_size=40) | st.just(bytes(3 << 20)), max_size=6
)


def differences(repository, before, after) -> dict[bytes, str]:
    return {each.path: each.change.value for each in compare_snapshots(repository.reader(), before, after)}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES, FILES)
def test_what_differs_is_found_and_nothing_else(tmp_path, first: dict[str, bytes], second: dict[str, bytes]):
    repository, trees, snapshots = make_repository(MemoryStorage()), [], []
    for files in (first, second):
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        (tmp_path / "tree").mkdir()
        write_tree(tmp_path / "tree", files)
        trees.append(tree_content(tmp_path / "tree"))
        snapshots.append(back_up(repository, tmp_path / "tree"))
    old, new = trees
    expected = dict.fromkeys(new.keys() - old.keys(), "added") | dict.fromkeys(old.keys() - new.keys(), "removed")
    expected |= {path: "content" for path in old.keys() & new.keys() if old[path] != new[path]}
    assert differences(repository, *snapshots) == expected
    assert differences(repository, snapshots[0], snapshots[0]) == {}


def test_the_same_bytes_in_another_chunk_are_no_difference(tmp_path):
    write_tree(tmp_path, {"same": b"as before" * 10, "z": b"one"})
    repository = make_repository(MemoryStorage())
    before = back_up(repository, tmp_path)
    write_tree(tmp_path, {"z": b"another"})  # read anew, both lie together in a new chunk
    assert differences(repository, before, back_up(repository, tmp_path)) == {b"z": "content"}


def test_the_same_extents_listed_in_two_ways_are_no_difference() -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        chunks = [np.void(writer.put(ContentClass.FILE, [content])[0]) for content in (b"x" * 100, b"y" * 100)]
        low = np.array([(at * 10, 10, 0, chunks[0]) for at in range(5)], dtype=EXTENT_DTYPE)
        over = np.array([(20, 10, 0, chunks[1])], dtype=EXTENT_DTYPE)
        together = lay_over([low, over])
        snapshots = []
        for tables in ([low, over], [together], [low]):
            lists = tuple(writer.put_metadata(encode_list(table)) for table in tables)
            entry = Entry(b"file", EntryKind.FILE, 0, 0, 0, "", "", 0, 0, 0, 50, extent_chunks=lists)
            snapshots.append(commit(repository, writer, Capture(entries=[entry])))
    assert differences(repository, snapshots[0], snapshots[1]) == {}
    assert differences(repository, snapshots[1], snapshots[2]) == {b"file": "content"}


def test_another_mode_is_told_apart_from_another_content(tmp_path):
    write_tree(tmp_path, {"file": b"content", "touched": b"content"})
    repository = make_repository(MemoryStorage())
    before = back_up(repository, tmp_path)
    (tmp_path / "file").chmod(0o400)
    os.utime(tmp_path / "touched", (1, 1))
    assert differences(repository, before, back_up(repository, tmp_path)) == {b"file": "attributes"}
