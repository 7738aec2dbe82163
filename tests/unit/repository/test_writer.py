"""The writer: nothing is stored twice, nothing counts before the commit, and what comes back is verified."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.building import (
    back_up,
    capture_into,
    commit,
    data_of,
    make_plain_repository,
    make_repository,
    read_back,
    reopen,
    sources_of,
    tree_content,
    write_tree,
)
from tests.unit.repository.faulty import BitFlippingStorage, FullStorage

from holdfast.errors import BusyError, DamageError, NoSpaceError
from holdfast.progress import Silence
from holdfast.repository import packer
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.compression import ContentClass
from holdfast.repository.repository import Repository
from holdfast.repository.writer import WriterOptions
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.storage.base import Buffer

WHOLE = CheckOptions(read_data_percent=100)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files: small ones, a streamed one, an empty one."""
    chance = random.Random(4)
    root = tmp_path / "tree"
    write_tree(root, {f"small/{number}": chance.randbytes(chance.randrange(5000)) for number in range(50)})
    write_tree(root, {"large": chance.randbytes(3 << 20), "empty": b"", "zeros": bytes(1 << 20)})
    return root


def names(storage: MemoryStorage, prefix: str) -> list[str]:
    """Return the names below a prefix."""
    return [info.name for info in storage.list(prefix)]


def require_clean(repository: Repository) -> None:
    """Fail when a check finds damage."""
    report = check_repository(repository, WHOLE, Silence())
    assert report.damages == ()


@pytest.mark.parametrize("make", [make_repository, make_plain_repository])
@pytest.mark.parametrize("compression", ["auto", "none", "zstd-3"])
def test_a_tree_comes_back(tree: Path, make, compression: str) -> None:
    repository = make(MemoryStorage())
    snapshot = back_up(repository, tree, options=WriterOptions(compression=compression, verifies_all=True))
    assert repository.snapshots() == [snapshot]
    assert data_of(read_back(repository, snapshot)) == tree_content(tree)
    require_clean(repository)


def test_a_second_run_stores_no_chunk_again(tree: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    first = back_up(repository, tree)
    before = names(storage, "packs")
    second = back_up(reopen(storage), tree)
    assert names(storage, "packs") == before
    assert second.manifest == first.manifest
    write_tree(tree, {"small/new": b"new content"})
    back_up(reopen(storage), tree)
    added = sum(storage.stat(name).size_bytes for name in set(names(storage, "packs")) - set(before))
    assert added < 300_000


def test_equal_chunks_of_one_run_are_stored_once() -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        ids = [writer.put(ContentClass.FILE, [b"same", b"same", b"other"]) for _ in range(3)]
        writer.flush()
        assert writer.counts.chunks == 2
    assert len({chunk for group in ids for chunk in group}) == 2
    assert len(repository.usable_index()) == 2


def test_many_threads_put_and_everything_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packer, "PACK_BYTES", 5_000)
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    found: dict[int, list[bytes]] = {}

    def put(thread: int) -> None:
        chunks = [f"{(thread * 150 + number) % 400} ".encode() * 300 for number in range(300)]
        found[thread] = [chunk for data in chunks for chunk in writer.put(ContentClass.FILE, [data])]

    with writer:
        threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.flush()
    index = repository.usable_index()
    assert len(index) == 400
    assert len(index.packs) > 3
    reader = repository.reader()
    for thread, ids in found.items():
        wanted = [f"{(thread * 150 + number) % 400} ".encode() * 300 for number in range(300)]
        assert list(reader.read_many(ids)) == wanted


def test_two_services_at_once_both_commit(tree: Path, tmp_path: Path) -> None:
    storage = MemoryStorage()
    make_repository(storage)
    other = tmp_path / "other"
    write_tree(other, {"a": b"of the other", **{f"x{number}": bytes([number]) * 999 for number in range(50)}})
    one, two = reopen(storage), reopen(storage)
    first, _ = one.writer("shop", "db", WriterOptions())
    with first:
        second, _ = two.writer("shop", "mail", WriterOptions())
        with second:
            captured = capture_into(first, sources_of(tree)), capture_into(second, sources_of(other))
            snapshots = commit(one, first, captured[0], "db"), commit(two, second, captured[1], "mail")
    repository = reopen(storage)
    assert data_of(read_back(repository, snapshots[0])) == tree_content(tree)
    assert data_of(read_back(repository, snapshots[1])) == tree_content(other)
    require_clean(repository)
    assert names(storage, "sessions") == []


def test_the_same_service_twice_is_busy() -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        with pytest.raises(BusyError, match="another backup of db is running") as caught:
            repository.writer("shop", "db", WriterOptions())
        assert caught.value.hint
        other, _ = repository.writer("another stack", "db", WriterOptions())
        with other:
            pass
    again, _ = repository.writer("shop", "db", WriterOptions())
    with again:
        pass


class AbortedError(Exception):
    """Ends a run early."""


def abort_after_capture(repository: Repository, tree: Path) -> None:
    """Store all content of a tree, then fail."""
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        capture_into(writer, sources_of(tree))
        for each in writer._packers.values():
            each.finish()
            each.settle()
        raise AbortedError


def test_what_an_aborted_run_stored_is_reused(tree: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    with pytest.raises(AbortedError):
        abort_after_capture(repository, tree)
    assert repository.snapshots() == []
    assert names(storage, "sessions") == []
    require_clean(repository)
    kept = names(storage, "packs/data")
    assert kept
    snapshot = back_up(repository, tree)
    assert names(storage, "packs/data") == kept
    assert data_of(read_back(repository, snapshot)) == tree_content(tree)


def test_a_full_storage_ends_the_run_and_keeps_what_is_there(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packer, "PACK_BYTES", 100_000)
    write_tree(tree, {f"more/{number}": random.Random(number).randbytes(300_000) for number in range(12)})
    storage = FullStorage(packs=3)
    repository = make_repository(storage)
    with pytest.raises(NoSpaceError):
        back_up(repository, tree, options=WriterOptions(threads=6))
    assert repository.snapshots() == []
    require_clean(repository)
    assert len(repository.usable_index().packs) == 3
    storage.packs_left = 1000
    assert data_of(read_back(repository, back_up(repository, tree))) == tree_content(tree)


def test_verify_writes_catches_a_storage_that_corrupts(tree: Path) -> None:
    repository = make_repository(BitFlippingStorage())
    with pytest.raises(DamageError, match="other bytes than it was given"):
        back_up(repository, tree, options=WriterOptions(verifies_all=True))
    assert repository.snapshots() == []


class CorruptingPolicy:
    """A compressor that loses a byte."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def compress(self, content_class: ContentClass, plain: Buffer, file: bytes = b"") -> bytes | None:
        """Compress something else, of the same length."""
        return self._inner.compress(content_class, bytes(plain[:-1]) + b"?", file)


@pytest.mark.parametrize("verifies_all", [False, True])
def test_fault_26_a_compressor_that_corrupts_is_caught(verifies_all: bool) -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions(compression="zstd-1", verifies_all=verifies_all))
    writer._policy = CorruptingPolicy(writer._policy)
    with writer:
        writer.put(ContentClass.FILE, [b"content " * 99])
        with pytest.raises(DamageError, match="does not hold the chunk that it should"):
            writer.flush()
    assert len(repository.usable_index()) == 0


def test_fault_36_one_put_per_pack_not_per_chunk() -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        writer.put(ContentClass.FILE, [b"chunk %d" % number for number in range(5000)])
        writer.flush()
    assert len(names(storage, "packs")) == 1


def test_a_lost_pack_is_stored_again_by_the_next_run(tree: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    first = back_up(repository, tree)
    for name in names(storage, "packs"):
        storage.delete(name)
    with pytest.raises(DamageError):
        read_back(repository, first)
    second = back_up(repository, tree)
    for snapshot in (first, second):
        assert data_of(read_back(repository, snapshot)) == tree_content(tree)
    report = check_repository(repository, WHOLE, Silence())
    assert report.is_clean
    assert any("nothing needs it" in notice for notice in report.notices)
