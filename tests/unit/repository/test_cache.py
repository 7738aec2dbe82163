"""The cache may be deleted, spoilt or unwritable at any time: it only ever saves a fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.repository.building import NO_CACHE, back_up, make_repository, read_back, reopen, write_tree

from holdfast.repository.cache import ObjectCache, default_cache_root
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.trace import Tally, TracedStorage, Verb

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_copy_comes_back_until_it_is_dropped(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "ab" * 16)
    assert cache.get("index/1") is None
    cache.put("index/1", b"copy")
    assert cache.get("index/1") == b"copy"
    cache.drop("index/1")
    assert cache.get("index/1") is None


def test_repositories_do_not_share_copies(tmp_path: Path) -> None:
    ObjectCache(tmp_path, "ab" * 16).put("index/1", b"copy")
    assert ObjectCache(tmp_path, "cd" * 16).get("index/1") is None


def test_what_the_repository_lost_is_forgotten(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "ab" * 16)
    for name in ("index/1", "index/2", "snapshots/1"):
        cache.put(name, b"copy")
    cache.keep_only("index", ["index/2"])
    assert [cache.get(name) for name in ("index/1", "index/2", "snapshots/1")] == [None, b"copy", b"copy"]


def test_a_place_that_cannot_be_written_is_no_error() -> None:
    cache = ObjectCache(NO_CACHE, "ab" * 16)
    cache.put("index/1", b"copy")
    assert cache.get("index/1") is None


def test_the_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_root() == tmp_path / "holdfast"


def test_cached_objects_are_not_fetched_and_spoilt_copies_are(tmp_path: Path) -> None:
    storage, tree, cache = MemoryStorage(), tmp_path / "tree", tmp_path / "cache"
    write_tree(tree, {"a": b"content"})
    snapshot = back_up(make_repository(storage, cache=cache), tree)

    def fetched() -> int:
        tally = Tally()
        repository = reopen(TracedStorage(storage, tally), cache=cache)
        before = tally.snapshot()[Verb.GET].requests
        assert repository.snapshots() == [snapshot]
        repository.usable_index()
        return tally.snapshot()[Verb.GET].requests - before

    assert fetched() == 2
    assert fetched() == 0
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"junk")
    assert fetched() == 2
    assert fetched() == 0
    assert read_back(reopen(storage, cache=cache), snapshot)[b"a"].data == b"content"


def test_the_cache_discloses_nothing(tmp_path: Path) -> None:
    storage, tree, cache = MemoryStorage(), tmp_path / "tree", tmp_path / "cache"
    write_tree(tree, {"a-telling-name": b"content"})
    repository = make_repository(storage, cache=cache)
    back_up(repository, tree)
    repository.snapshots()
    repository.reader()
    copies = [path.read_bytes() for path in cache.rglob("*") if path.is_file()]
    assert copies
    assert not any(b"telling" in copy or b"shop" in copy for copy in copies)
