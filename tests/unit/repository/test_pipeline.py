"""The pipeline on files that change, vanish or cannot be read under its hands: what it stores is what it read."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.repository.building import (
    Content,
    back_up,
    capture_into,
    commit,
    data_of,
    make_plain_repository,
    make_repository,
    read_back,
    sources_of,
    tree_content,
    write_tree,
)

from holdfast.errors import HoldfastError
from holdfast.progress import Silence
from holdfast.repository import intake
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.chunker import BUNDLE_FILE_BYTES, CHUNK_BYTES
from holdfast.repository.compression import ContentClass
from holdfast.repository.intake import SPAN_BYTES
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.repository import Repository
from holdfast.repository.sources import Capture, FileSource, NoInspection, Piece
from holdfast.repository.writer import WriterOptions
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Sequence

classes = pytest.mark.parametrize("content_class", [ContentClass.FILE, ContentClass.RELATION])
SIZES = [
    0, 1, 8192, BUNDLE_FILE_BYTES - 1, BUNDLE_FILE_BYTES, BUNDLE_FILE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1,
    SPAN_BYTES - 1, SPAN_BYTES, SPAN_BYTES + 1, 2 * SPAN_BYTES + 12345,
]  # fmt: skip


def run(sources: list[FileSource]) -> tuple[Capture, dict[bytes, Content], Repository]:
    """Capture sources into a new repository; return the capture and what can be read back."""
    repository = make_plain_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions(threads=3))
    with writer:
        capture = capture_into(writer, sources)
        snapshot = commit(repository, writer, capture)
    assert check_repository(repository, CheckOptions(read_data_percent=100), Silence()).is_clean
    return capture, read_back(repository, snapshot), repository


def scanned_as(source: FileSource, size: int) -> FileSource:
    """Return a source as if its scan had found another size."""
    return FileSource(msgspec.structs.replace(source.entry, size=size), source.path, source.content_class)


@classes
def test_every_size_comes_back(tmp_path: Path, content_class: ContentClass) -> None:
    chance = random.Random(3)
    write_tree(tmp_path, {f"size/{size}": chance.randbytes(size) for size in SIZES})
    capture, found, _ = run(sources_of(tmp_path, content_class))
    assert data_of(found) == tree_content(tmp_path)
    assert capture.bytes_read == sum(SIZES)
    assert all(content.covered == len(content.data) for content in found.values())


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 600_000), max_size=25), seed=st.integers(0, 99))
def test_any_mixture_of_sizes_comes_back(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int) -> None:
    root, chance = tmp_path_factory.mktemp("mixture"), random.Random(seed)
    write_tree(root, {f"{number}": chance.randbytes(size) for number, size in enumerate(sizes)})
    kind = chance.choice([ContentClass.FILE, ContentClass.RELATION])
    assert data_of(run(sources_of(root, kind))[1]) == tree_content(root)


@classes
@pytest.mark.parametrize("size", [1000, 900_000, SPAN_BYTES * 2 + 5])
def test_a_file_that_shrank_since_the_scan(tmp_path: Path, content_class: ContentClass, size: int) -> None:
    data = random.Random(1).randbytes(size)
    write_tree(tmp_path, {"a": data, "other": b"other"})
    sources = [scanned_as(source, source.entry.size * 3) for source in sources_of(tmp_path, content_class)]
    assert data_of(run(sources)[1]) == {b"a": data, b"other": b"other"}


@classes
@pytest.mark.parametrize("size", [1000, 900_000, SPAN_BYTES * 2 + 5])
def test_a_file_that_grew_since_the_scan_is_read_as_far_as_it_was(
    tmp_path: Path, content_class: ContentClass, size: int
) -> None:
    data = random.Random(1).randbytes(2 * size)
    write_tree(tmp_path, {"a": data})
    sources = [scanned_as(source, size) for source in sources_of(tmp_path, content_class)]
    assert data_of(run(sources)[1]) == {b"a": data[:size]}


@classes
def test_a_file_cut_to_nothing_since_the_scan_is_empty(tmp_path: Path, content_class: ContentClass) -> None:
    write_tree(tmp_path, {"small": b"", "large": b""})
    sources = [
        scanned_as(source, 3_000_000 if source.entry.path == b"large" else 100)
        for source in sources_of(tmp_path, content_class)
    ]
    assert data_of(run(sources)[1]) == {b"small": b"", b"large": b""}


@classes
def test_files_that_vanish_are_named_and_the_rest_is_stored(tmp_path: Path, content_class: ContentClass) -> None:
    write_tree(tmp_path, {"small": b"s", "large": bytes(SPAN_BYTES + 1), "stays": b"here"})
    sources = sources_of(tmp_path, content_class)
    for name in ("small", "large"):
        (tmp_path / name).unlink()
    capture, found, _ = run(sources)
    assert sorted(capture.vanished) == [b"large", b"small"]
    assert capture.unreadable == []
    assert data_of(found) == {b"stays": b"here"}


@classes
def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path, content_class: ContentClass) -> None:
    write_tree(tmp_path, {"small": b"s", "large": bytes(SPAN_BYTES + 1), "stays": b"here"})
    sources = sources_of(tmp_path, content_class)
    for name in ("small", "large"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/etc/passwd")  # O_NOFOLLOW: a link put in a file's place is not followed
    capture, found, _ = run(sources)
    assert sorted((lost.path, lost.reason) for lost in capture.unreadable) == [
        (path, os.strerror(errno.ELOOP)) for path in (b"large", b"small")
    ]
    assert data_of(found) == {b"stays": b"here"}


@classes
@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
def test_a_disk_error_names_the_file_once(
    tmp_path: Path, content_class: ContentClass, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, {"bad": bytes(3 * SPAN_BYTES), "good": b"good"})
    bad = os.stat(tmp_path / "bad").st_ino
    read = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(number, "disk")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(intake.os, "preadv", preadv)
    capture, found, _ = run(sources_of(tmp_path, content_class))
    assert [lost.path for lost in capture.unreadable] == [b"bad"]
    assert data_of(found) == {b"good": b"good"}


def make_sparse(path: Path, size: int, data: dict[int, bytes]) -> None:
    """Make a file with holes."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, content in data.items():
            file.seek(offset)
            file.write(content)


@classes
def test_holes_are_recorded_as_regions_that_nothing_covers(tmp_path: Path, content_class: ContentClass) -> None:
    size = 40 << 20
    make_sparse(tmp_path / "sparse", size, {5 << 20: b"first", (30 << 20) + 77: b"second" * 1000})
    make_sparse(tmp_path / "hole", size, {})
    make_sparse(tmp_path / "end", 9 << 20, {(9 << 20) - 1: b"!"})
    if os.stat(tmp_path / "hole").st_blocks:
        pytest.fail("the file system of the temporary directory knows no holes")
    capture, found, _ = run(sources_of(tmp_path, content_class))
    assert data_of(found) == tree_content(tmp_path)
    assert found[b"hole"].covered == 0
    assert found[b"sparse"].covered <= 3 * CHUNK_BYTES
    assert capture.bytes_read <= 5 * CHUNK_BYTES


def test_small_files_share_chunks(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{number:04d}": b"file %d" % number for number in range(2000)})
    _, found, repository = run(sources_of(tmp_path))
    assert len(found) == 2000
    assert len(repository.usable_index()) < 40


def test_names_are_bytes(tmp_path: Path) -> None:
    for name in (b"\xff\xfe not utf-8", "größe".encode(), b"new\nline", b"\\x00"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    assert all(path == content.data for path, content in run(sources_of(tmp_path))[1].items())


class Remembering:
    """An Inspector that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: dict[bytes, dict[int, bytes]] = {}

    def inspect(self, buffer: memoryview, pieces: Sequence[Piece]) -> None:
        """Keep a copy."""
        for piece in pieces:
            run = bytes(buffer[piece.buffer_offset : piece.buffer_offset + piece.length])
            self.shown.setdefault(piece.source.entry.path, {})[piece.file_offset] = run

    def inspect_pages(self, buffer: memoryview, source: FileSource, offsets: np.ndarray) -> np.ndarray:
        """Keep a copy."""
        for at, offset in enumerate(offsets.tolist()):
            self.shown.setdefault(source.entry.path, {})[offset] = bytes(buffer[at * 8192 : (at + 1) * 8192])
        return np.zeros(0, dtype=np.intp)


@classes
def test_the_inspector_sees_every_byte_once(tmp_path: Path, content_class: ContentClass) -> None:
    chance = random.Random(3)
    write_tree(tmp_path, {f"{size}": chance.randbytes(size) for size in SIZES})
    repository, inspector = make_repository(MemoryStorage()), Remembering()
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        Pipeline(writer, inspector, Silence()).capture(sources_of(tmp_path, content_class))
    expected = {path: data for path, data in tree_content(tmp_path).items() if data}
    assert {path: b"".join(runs[at] for at in sorted(runs)) for path, runs in inspector.shown.items()} == expected


class Refusing(NoInspection):
    """An Inspector that finds something unbearable."""

    def inspect(self, buffer: memoryview, pieces: Sequence[Piece]) -> None:
        """Raise."""
        raise HoldfastError("this will not do")


def test_a_failure_of_one_thread_ends_the_capture(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{number}": bytes([number]) * 300_000 for number in range(20)})
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer, pytest.raises(HoldfastError, match="this will not do"):
        Pipeline(writer, Refusing(), Silence()).capture(sources_of(tmp_path))


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {f"{number}": bytes([number]) * 400_000 for number in range(20)})
    repository = make_repository(MemoryStorage())
    before = len(os.listdir("/proc/self/fd"))
    for content_class in (ContentClass.FILE, ContentClass.RELATION):
        back_up(repository, tmp_path / "tree", content_class=content_class)
    assert len(os.listdir("/proc/self/fd")) == before
