"""Whose hashes a cache gives: those of this very snapshot, page size and file, sound to the last byte (FAULTS 28)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from tests.unit.repository.page_chain import PAGE

from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.page_cache import PageCache, PageCacheWriter, page_cache_name

if TYPE_CHECKING:
    from pathlib import Path

HASHES = np.arange(1, 41, dtype=np.uint64)
ENTRY = Entry(
    path=b"base/5/1",
    kind=EntryKind.FILE,
    mode=0o600,
    uid=0,
    gid=0,
    user="",
    group="",
    size=40 * PAGE,
    mtime_ns=7,
    ctime_ns=8,
    inode=9,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cache of two files."""
    writer = PageCacheWriter(tmp_path / "cache", PAGE, seed=3)
    writer.add(ENTRY, HASHES)
    writer.add(msgspec.structs.replace(ENTRY, path=b"base/5/2"), HASHES + 1)
    assert writer.commit("snapshot", 4.5) is None
    return tmp_path / "cache"


def test_hashes_come_back_with_what_goes_with_them(path: Path) -> None:
    cache = PageCache.open(path, "snapshot", PAGE)
    assert cache is not None
    assert (cache.seed, cache.hinted_since_s) == (3, 4.5)
    found = cache.hashes(ENTRY)
    assert found is not None
    assert found.tolist() == HASHES.tolist()


@pytest.mark.parametrize(("snapshot", "page"), [("another", PAGE), ("snapshot", 4096)])
def test_a_cache_of_another_snapshot_or_page_size_is_none(path: Path, snapshot: str, page: int) -> None:
    assert PageCache.open(path, snapshot, page) is None


@pytest.mark.parametrize("change", [{"size": 39 * PAGE}, {"mtime_ns": 6}, {"inode": 10}, {"path": b"base/5/3"}])
def test_another_file_has_no_hashes(path: Path, change: dict[str, object]) -> None:
    cache = PageCache.open(path, "snapshot", PAGE)
    assert cache is not None
    assert cache.hashes(msgspec.structs.replace(ENTRY, **change)) is None


def test_every_flipped_bit_and_every_cut_is_noticed_where_it_matters(path: Path) -> None:
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        assert found_in(path) in (None, HASHES.tolist())
        path.write_bytes(content[:at])
        assert found_in(path) is None


def found_in(path: Path) -> list[int] | None:
    """Return the hashes of the first file, None where there are none."""
    cache = PageCache.open(path, "snapshot", PAGE)
    found = cache.hashes(ENTRY) if cache else None
    return None if found is None else found.tolist()


def test_services_have_caches_of_their_own() -> None:
    names = {page_cache_name(*pair) for pair in [("a", "bc"), ("ab", "c"), ("a", "b"), ("shop", "db")]}
    assert len(names) == 4
