"""Which files of a parent are trusted: those that look the same, and are older than the clock's grain."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.building import back_up, make_repository, reopen

from holdfast.backup.run import BackupOptions, choose_parent
from holdfast.progress import Silence
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.parent import NO_PARENT, Parent
from holdfast.repository.snapshot import Snapshot
from holdfast.storage.memory import MemoryStorage

STARTED_NS = 1_800_000_000 * 10**9
GRAIN_NS = 2 * 10**9


def snapshot_at(started_ns):
    instant = datetime.fromtimestamp(started_ns / 10**9, UTC).isoformat()
    return Snapshot(
        id="0" * 32, stack="shop", service="db", kind="files", host="here",
        started=instant, ended=instant, tool_version="0", manifest=b"",
        is_complete=True, is_clean=True, is_encrypted=True,
    )  # fmt: skip


def entry(**changes):
    facts = {"mtime_ns": 1, "ctime_ns": 1, "inode": 7, "size": 5, "extents": b""}
    facts |= changes
    return Entry(b"file", EntryKind.FILE, 0o600, 0, 0, "", "", **facts)


def parent_of(known):
    return Parent(snapshot_at(STARTED_NS), {b"file": known})


@given(mtime=st.integers(-(3 * 10**9), 10**9), ctime=st.integers(-(3 * 10**9), 10**9))
def test_nothing_within_the_grain_of_the_parents_start_is_trusted(mtime, ctime):
    known = entry(mtime_ns=STARTED_NS + mtime, ctime_ns=STARTED_NS + ctime)
    is_old = mtime < -GRAIN_NS and ctime < -GRAIN_NS
    assert (parent_of(known).reuse(known) is not None) == is_old


@pytest.mark.parametrize("change", ["mtime_ns", "ctime_ns", "inode", "size"])
def test_whatever_looks_different_is_read(change):
    assert parent_of(entry()).reuse(entry(**{change: 3})) is None
    assert parent_of(entry()).reuse(entry()) is not None


def test_content_is_the_parents_and_the_rest_the_files_own():
    known, found = entry(extents=b"e" * 48), entry()
    reused = parent_of(known).reuse(Entry(b"file", EntryKind.FILE, 0o644, 9, 9, "u", "g", 1, 1, 7, 5))
    assert (reused.extents, reused.mode, reused.uid) == (known.extents, 0o644, 9)
    assert found.extents == b""
    assert parent_of(known).reuse(Entry(b"other", EntryKind.FILE, 0o600, 0, 0, "", "", 1, 1, 7, 5)) is None


class Listening(Silence):
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


def choose(storage, service="db", **options):
    repository, reporter = reopen(storage), Listening()
    index = repository.usable_index()
    return choose_parent(repository, index, BackupOptions("shop", service, **options), reporter), reporter.warnings


def test_newest_snapshot_of_the_same_service_is_the_parent(tmp_path):
    storage = MemoryStorage()
    repository = make_repository(storage)
    (tmp_path / "file").write_text("x")
    back_up(repository, tmp_path)
    newest = back_up(repository, tmp_path)
    back_up(repository, tmp_path, "other")
    parent, warnings = choose(storage)
    assert (parent.snapshot.id, warnings) == (newest.id, [])
    assert choose(storage, rehashes=True)[0] is NO_PARENT
    assert choose(storage, "third")[0] is NO_PARENT


def test_damaged_parent_means_reading_everything_with_a_warning(tmp_path):
    storage = MemoryStorage()
    repository = make_repository(storage)
    (tmp_path / "file").write_bytes(os.urandom(1000))
    back_up(repository, tmp_path)
    for info in list(storage.list("packs/meta")):
        storage.delete(info.name)
    parent, warnings = choose(storage)
    assert parent is NO_PARENT
    assert len(warnings) == 1
    assert "all files are read" in warnings[0]
    assert back_up(reopen(storage), tmp_path)
