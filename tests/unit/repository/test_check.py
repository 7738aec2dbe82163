"""The check: what it calls damage, what that hits, what to do next, and what it says it did not prove."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.repository.building import (
    back_up,
    commit,
    make_plain_repository,
    make_repository,
    read_back,
    reopen,
    write_tree,
)
from tests.unit.repository.faulty import BrokenListing
from tests.unit.repository.walfiles import sealed
from tests.unit.test_docs import fault_of

from holdfast.errors import DamageError, KeyRefusedError, TransientStorageError, UsageError
from holdfast.model import new_object_id
from holdfast.progress import Silence
from holdfast.repository import packer
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.report import FILES_SHOWN, CheckReport, Damage, DamageKind
from holdfast.repository.check.run import check_repository
from holdfast.repository.check.sample import choose
from holdfast.repository.compression import ContentClass
from holdfast.repository.extent_list import encode_list
from holdfast.repository.file_extents import load_extents
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.manifest import EXTENT_DTYPE, Entry, EntryKind, Leaf
from holdfast.repository.repository import Repository
from holdfast.repository.sources import Capture
from holdfast.repository.unlock import Identity
from holdfast.repository.writer import WriterOptions
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.trace import Tally, TracedStorage, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STRUCTURE, PACKS, DATA = CheckOptions(), CheckOptions(read_packs_percent=100), CheckOptions(read_data_percent=100)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that need several packs."""
    monkeypatch.setattr(packer, "PACK_BYTES", 400_000)
    chance = random.Random(8)
    write_tree(tmp_path / "tree", {f"small/{number:03d}": chance.randbytes(2000) for number in range(100)})
    write_tree(tmp_path / "tree", {f"large/{number}": chance.randbytes(300_000) for number in range(5)})
    return tmp_path / "tree"


@pytest.fixture
def storage() -> MemoryStorage:
    """Where the repository is."""
    return MemoryStorage()


@pytest.fixture
def repository(storage: MemoryStorage, tree: Path) -> Repository:
    """A repository with two snapshots, of which the second has one file more."""
    made = make_repository(storage)
    back_up(made, tree)
    write_tree(tree, {"large/new": random.Random(5).randbytes(500_000)})
    back_up(made, tree)
    return made


def check(repository: Repository, options: CheckOptions = STRUCTURE) -> CheckReport:
    """Check, silently."""
    return check_repository(repository, options, Silence())


def only(damages: Iterable[Damage]) -> Damage:
    """Return the one damage that there is."""
    (damage,) = damages
    return damage


def names(storage: MemoryStorage, prefix: str) -> list[str]:
    """Return the names below a prefix."""
    return [info.name for info in storage.list(prefix)]


def flip(storage: MemoryStorage, name: str, at: int = -100) -> None:
    """Flip a bit of an object."""
    data = bytearray(storage.get(name))
    data[at] ^= 4
    storage.put(name, data, must_not_exist=False)


def pack_of(repository: Repository, path: bytes) -> str:
    """Return the pack that holds the first chunk of a file of the last snapshot."""
    reader = repository.reader()
    entry = next(e for e in repository.entries(reader, repository.snapshots()[-1]) if e.path == path)
    chunk = bytes(np.frombuffer(entry.extents, dtype=EXTENT_DTYPE)["chunk"][0])
    return reader.index.place(int(reader.rows([chunk])[0])).pack.ref.name


@pytest.mark.parametrize("options", [STRUCTURE, PACKS, DATA])
def test_a_sound_repository_is_clean_and_says_what_that_means(repository: Repository, options: CheckOptions) -> None:
    report = check(repository, options)
    assert (report.is_clean, report.notices) == (True, ())
    said = "\n".join(report.not_proven)
    assert ("were not read" in said) == (options is STRUCTURE)
    assert ("was not opened" in said) == (options is not DATA)
    assert "only a restore shows" in said  # FAULTS 32
    assert any("snapshots (2)" in line for line in report.proven)


def test_an_unencrypted_and_an_empty_repository_are_clean(tree: Path) -> None:
    plain = make_plain_repository(MemoryStorage())
    assert check(plain, DATA).is_clean
    back_up(plain, tree)
    assert check(plain, DATA).is_clean


def test_fault_25_a_check_only_ever_reads(repository: Repository, storage: MemoryStorage) -> None:
    storage.delete(names(storage, "index")[0])
    flip(storage, names(storage, "packs/meta")[0])
    storage.put("packs/data/junk", b"junk")
    tally = Tally()
    assert not check(reopen(TracedStorage(storage, tally)), DATA).is_clean
    assert tally.snapshot()[Verb.PUT].requests == tally.snapshot()[Verb.DELETE].requests == 0
    assert tally.snapshot()[Verb.GET].requests > 0


@pytest.mark.parametrize("prefix", ["packs", "index", "snapshots", "keys", "sessions"])
def test_fault_21_an_error_of_a_listing_is_fatal(tree: Path, prefix: str) -> None:
    storage = BrokenListing()
    repository = make_repository(storage)
    back_up(repository, tree)
    writer, _ = repository.writer("shop", "mail", WriterOptions())
    with writer:
        storage.broken_prefix = prefix
        with pytest.raises(TransientStorageError):
            check(repository)
        storage.broken_prefix = ""


def test_structure_is_checked_without_reading_data(repository: Repository, storage: MemoryStorage) -> None:
    tally = Tally()
    check(reopen(TracedStorage(storage, tally)))
    data = sum(storage.stat(name).size_bytes for name in names(storage, "packs/data"))
    assert tally.snapshot()[Verb.GET].moved_bytes < data / 10


def test_leaves_that_snapshots_share_are_read_once(tree: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    for _ in range(8):
        back_up(repository, tree)
    tally = Tally()
    assert check(reopen(TracedStorage(storage, tally))).is_clean
    once = 1 + 2 + len(names(storage, "keys")) * 2 + len(names(storage, "index")) + len(names(storage, "snapshots"))
    assert tally.snapshot()[Verb.GET].requests <= once + 2 * len(names(storage, "packs/meta"))


def test_an_absent_pack_hits_its_files_alone(repository: Repository, storage: MemoryStorage) -> None:
    first, second = repository.snapshots()
    storage.delete(pack_of(repository, b"large/new"))
    damage = only(check(repository).damages)
    assert damage.kind is DamageKind.PACK_ABSENT
    assert b"large/new" in damage.files
    assert damage.snapshots[-1] == second.id
    assert (first.id in damage.snapshots) == (damage.file_count > 1)
    assert "holdfast backup" in damage.next_command


def test_a_pack_that_nothing_needs_may_be_absent(repository: Repository, storage: MemoryStorage) -> None:
    storage.delete(repository.snapshots()[1].object_name)
    lost = set(names(storage, "packs/data"))
    kept = {pack_of(repository, b"large/%d" % number) for number in range(5)} | {pack_of(repository, b"small/001")}
    for name in lost - kept:
        storage.delete(name)
    report = check(repository)
    assert report.is_clean
    assert sum("nothing needs it" in notice for notice in report.notices) == len(lost - kept) >= 1


def test_a_flipped_bit_is_found_by_reading_and_hits_one_file(repository: Repository, storage: MemoryStorage) -> None:
    name = pack_of(repository, b"large/0")
    reader = repository.reader()
    rows = [row for row in range(len(reader.index)) if reader.index.place(row).pack.ref.name == name]
    entries = list(repository.entries(reader, repository.snapshots()[0]))
    row = max(rows, key=lambda row: reader.index.place(row).frame.stored)
    flip(storage, name, reader.index.place(row).frame.offset + 5)
    assert check(repository).is_clean
    by_bytes, by_content = only(check(repository, PACKS).damages), only(check(repository, DATA).damages)
    assert by_bytes.kind is by_content.kind is DamageKind.PACK_ALTERED
    hit = {entry.path for entry in entries if reader.index.ids_at(np.array([row])).tobytes() in entry.extents}
    assert set(by_content.files) == hit
    assert set(by_bytes.files) >= hit
    assert "seal" in by_content.reason


def test_a_flipped_bit_in_a_trailer_hits_no_file(repository: Repository, storage: MemoryStorage) -> None:
    flip(storage, names(storage, "packs/data")[0], -20)
    damage = only(check(repository, DATA).damages)
    assert (damage.kind, damage.file_count) == (DamageKind.PACK_ALTERED, 0)
    assert "trailer" in damage.reason


def test_files_are_counted_and_a_few_are_shown(repository: Repository, storage: MemoryStorage) -> None:
    storage.delete(pack_of(repository, b"small/050"))
    damage = only(check(repository).damages)
    assert damage.file_count >= 100
    assert len(damage.files) == FILES_SHOWN


def test_damaged_small_objects_are_named_and_the_rest_is_checked(
    repository: Repository, storage: MemoryStorage
) -> None:
    repository.add_key(Identity(b"z" * 32), "second")
    spoilt = {}
    for prefix, kind in [
        ("snapshots", DamageKind.SNAPSHOT), ("index", DamageKind.INDEX), ("keys", DamageKind.KEY_SLOT),
    ]:  # fmt: skip
        name = names(storage, prefix)[1]
        spoilt[name] = kind
        storage.put(name, b"\xff\x00 junk", must_not_exist=False)
    storage.put("sessions/" + "1" * 32 + "-000000", b"junk")
    spoilt["sessions/" + "1" * 32 + "-000000"] = DamageKind.SESSION
    report = check(repository)
    found = {damage.object_name: damage.kind for damage in report.damages}
    assert spoilt.items() <= found.items()
    assert all(damage.next_command for damage in report.damages)


@pytest.mark.parametrize("kind", DamageKind)
def test_what_to_do_next_names_only_commands_that_exist(kind: DamageKind) -> None:
    calls = re.findall(r"holdfast ((?:[a-z]+ ?)+(?:SERVICE)?(?: ?--[a-z-]+)*)", Damage("x/1", kind, "").next_command)
    assert calls or kind is DamageKind.SESSION
    assert [fault_of(call.split()) for call in calls] == [None] * len(calls)


def test_a_lost_index_object_shows_missing_chunks_and_packs_to_salvage(
    repository: Repository, storage: MemoryStorage
) -> None:
    for name in names(storage, "index"):
        storage.delete(name)
    report = check(repository)
    damage = only(report.damages)
    assert damage.kind is DamageKind.CHUNK_MISSING
    assert set(damage.snapshots) == {snapshot.id for snapshot in repository.snapshots()}
    assert any("packs in no index" in notice for notice in report.notices)


def test_no_slot_left_that_decrypts_is_damage(repository: Repository, storage: MemoryStorage) -> None:
    repository.add_key(Identity(b"w" * 32, SlotKind.WRITER), "host")
    for slot in repository.key_slots():
        if slot.opens_data:
            storage.delete(f"keys/{slot.id}")
    assert only(check(repository).damages).kind is DamageKind.KEY_SLOT


def test_an_altered_config_ends_the_check(repository: Repository, storage: MemoryStorage) -> None:
    storage.put("config", b"{}", must_not_exist=False)
    with pytest.raises(DamageError, match="config"):
        check(repository)


def test_cached_copies_do_not_hide_damage(tree: Path, tmp_path: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage, cache=tmp_path / "cache")
    back_up(repository, tree)
    repository.usable_index()
    flip(storage, names(storage, "index")[0])
    assert repository.usable_index()  # from the cache
    assert DamageKind.INDEX in {damage.kind for damage in check(repository).damages}


def test_a_writer_credential_proves_bytes_but_not_content(repository: Repository, storage: MemoryStorage) -> None:
    credential = Identity(b"w" * 32, SlotKind.WRITER)
    repository.add_key(credential, "host")
    writer = reopen(storage, credential)
    assert check(writer, PACKS).is_clean
    with pytest.raises(KeyRefusedError, match="owner's key"):
        check(writer, DATA)
    flip(storage, names(storage, "packs/data")[0])
    assert not check(writer, PACKS).is_clean


def test_fault_35_a_snapshot_that_lies_about_encryption_is_damage(repository: Repository) -> None:
    first = repository.snapshots()[0]
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        writer.commit(msgspec.structs.replace(first, id=new_object_id(), is_encrypted=False))
    assert "encryption" in only(check(repository).damages).reason


def file_entry(path: bytes, size: int, extents: list[tuple[int, int, int, bytes]]) -> Entry:
    """Return an entry with these extents (file offset, length, chunk offset, chunk)."""
    raw = np.array([(*numbers, np.void(chunk)) for *numbers, chunk in extents], dtype=EXTENT_DTYPE).tobytes()
    return Entry(path, EntryKind.FILE, 0, 0, 0, "", "", 0, 0, 0, size, extents=raw)


@pytest.mark.parametrize(
    ("size", "extents", "reason"),
    [
        (20, [(0, 10, 0), (5, 10, 0)], "overlap"),
        (5, [(0, 10, 0)], "overlap or pass its end"),
        (20, [(0, 10, 95)], "passes the end of its chunk"),
    ],
)
def test_a_file_that_is_described_unsoundly_is_damage(size, extents, reason) -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        chunk = writer.put(ContentClass.FILE, [b"x" * 100])[0]
        good = file_entry(b"good", 30, [(0, 10, 90, chunk), (20, 10, 0, chunk)])
        bad = file_entry(b"bad", size, [(*numbers, chunk) for numbers in extents])
        snapshot = commit(repository, writer, Capture(entries=[good, bad]))
    damage = only(check(repository).damages)
    assert (damage.kind, damage.files, damage.snapshots) == (DamageKind.MANIFEST, (b"bad",), (snapshot.id,))
    assert reason in damage.reason


def listed_entry(path: bytes, size: int, lists: Iterable[bytes]) -> Entry:
    """Return an entry with stored lists of extents."""
    return msgspec.structs.replace(file_entry(path, size, []), extent_chunks=tuple(lists))


@pytest.mark.parametrize(
    ("size", "extents", "reason"),
    [
        (30, None, "a list of extents is cut off"),
        (29, [(0, 10, 90), (20, 10, 0)], "pass its end"),
        (30, [(0, 10, 90), (20, 10, 91)], "passes the end of its chunk"),
    ],
)
def test_a_file_whose_list_of_extents_is_unsound_is_damage(size, extents, reason) -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        chunk = np.void(writer.put(ContentClass.FILE, [b"x" * 100])[0])
        low, over = ([(0, 30, 0)], [(5, 10, 90)])
        lists = [
            b"junk" if rows is None else encode_list(np.array([(*row, chunk) for row in rows], dtype=EXTENT_DTYPE))
            for rows in (low, over, extents)
        ]
        named = [writer.put_metadata(content) for content in lists]
        good, bad = listed_entry(b"good", 30, named[:2]), listed_entry(b"bad", size, named[2:])
        snapshot = commit(repository, writer, Capture(entries=[bad, good]))
    damage = only(check(repository).damages)
    assert (damage.kind, damage.files, damage.snapshots) == (DamageKind.MANIFEST, (b"bad",), (snapshot.id,))
    assert reason in damage.reason


def test_a_file_with_extents_of_its_own_and_lists_of_them_is_damage() -> None:
    """Of the two a dump took the lists, and a restore both, in whatever order: nobody said that there were two."""
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        chunk = writer.put(ContentClass.FILE, [b"x" * 100])[0]
        extents = np.array([(0, 10, 0, np.void(chunk))], dtype=EXTENT_DTYPE)
        both = msgspec.structs.replace(
            file_entry(b"bad", 10, [(0, 10, 90, chunk)]), extent_chunks=(writer.put_metadata(encode_list(extents)),)
        )
        snapshot = commit(repository, writer, Capture(entries=[both]))
    damage = only(check(repository).damages)
    assert (damage.kind, damage.files, damage.snapshots) == (DamageKind.MANIFEST, (b"bad",), (snapshot.id,))
    assert "extents of its own, and lists" in damage.reason
    for read in (lambda: load_extents(both, repository.reader().read), lambda: read_back(repository, snapshot)):
        with pytest.raises(DamageError, match="extents of its own, and lists"):
            read()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": EntryKind.DIRECTORY}, "it is no file, and has content"),
        ({"kind": EntryKind.DIRECTORY, "extents": b""}, "it is no file, and has content"),
        ({"kind": EntryKind.SYMLINK, "extents": b"", "size": 0}, "a link to nothing"),
        ({"kind": EntryKind.SYMLINK, "extents": b"", "size": 0, "link": b"a\0b"}, "a link to nothing"),
        ({"kind": EntryKind.HARD_LINK, "extents": b"", "size": 0}, "a link to nothing"),
        ({"link": b"/etc/passwd"}, "no link and has a target"),
        ({"xattrs": {b"user.a\0b": b""}}, "attribute whose name cannot be"),
        ({"path": b"../etc/passwd"}, "leads out of the tree"),
        ({"path": b"/etc/passwd"}, "leads out of the tree"),
        ({"path": b"base//1"}, "leads out of the tree"),
        ({"path": b"base/\0"}, "leads out of the tree"),
        ({"path": b""}, "leads out of the tree"),
    ],
    ids=str,
)
def test_an_entry_that_contradicts_itself_is_damage(changes: dict[str, object], reason: str) -> None:
    """Only a restore refused some of them, and only when it came to them."""
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        chunk = writer.put(ContentClass.FILE, [b"x" * 100])[0]
        bad = msgspec.structs.replace(file_entry(b"bad", 10, [(0, 10, 0, chunk)]), **changes)
        link = Entry(b"link", EntryKind.SYMLINK, 0o777, 0, 0, "", "", 0, 0, 0, 0, b"bad")
        root = Entry(b".", EntryKind.DIRECTORY, 0o700, 0, 0, "", "", 0, 0, 0, 0)
        snapshot = commit(repository, writer, Capture(entries=[root, bad, link]))
    damage = only(check(repository).damages)
    assert (damage.kind, damage.snapshots) == (DamageKind.MANIFEST, (snapshot.id,))
    assert damage.files in {(bad.path,), (b".",)}
    assert reason in damage.reason


@pytest.mark.parametrize("paths", [[b"b", b"a"], [b"a", b"a"]], ids=["backwards", "twice"])
def test_leaves_out_of_order_are_damage(paths: list[bytes]) -> None:
    """A path is found by the first paths of leaves: one out of order was not found, and nobody knew."""
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        leaves = [
            Leaf(path, writer.put_metadata(msgspec.msgpack.encode([file_entry(path, number, [])])), 1)
            for number, path in enumerate(paths)
        ]
        manifest = writer.put_metadata(msgspec.msgpack.encode(leaves))
        snapshot = commit(repository, writer, Capture(), manifest=manifest)
    damage = only(check(repository).damages)
    assert (damage.kind, damage.snapshots) == (DamageKind.MANIFEST, (snapshot.id,))
    assert damage.reason == "its list of files is out of order"


def test_a_list_of_extents_with_a_chunk_that_is_nowhere_is_damage() -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        there = writer.put(ContentClass.FILE, [b"x" * 100])[0]
        lists = [
            writer.put_metadata(encode_list(np.array([(0, 10, 0, np.void(chunk))], dtype=EXTENT_DTYPE)))
            for chunk in (b"lost".ljust(32), there)
        ]
        commit(repository, writer, Capture(entries=[listed_entry(b"bad", 10, lists)]))
    damage = only(check(repository).damages)
    assert (damage.kind, damage.files) == (DamageKind.CHUNK_MISSING, (b"bad",))


def test_a_snapshot_without_its_manifest_is_damage() -> None:
    repository = make_repository(MemoryStorage())
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        snapshot = commit(repository, writer, Capture())
        lost = msgspec.structs.replace(snapshot, id=new_object_id(), manifest=b"m" * 32)
        writer.commit(lost)
    damage = only(check(repository).damages)
    assert (damage.kind, damage.snapshots) == (DamageKind.CHUNK_MISSING, (lost.id,))


def test_incomplete_snapshots_are_mentioned(repository: Repository) -> None:
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        commit(repository, writer, Capture(), is_complete=False)
    report = check(repository)
    assert report.is_clean
    assert any("incomplete" in notice for notice in report.notices)


class Recording(Silence):
    """A Reporter that remembers."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.done = 0

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Remember it."""
        self.phases.append((name, total_bytes))

    def advance(self, done_bytes: int) -> None:
        """Add it up."""
        self.done += done_bytes


def test_progress_adds_up(repository: Repository, storage: MemoryStorage) -> None:
    reporter = Recording()
    check_repository(repository, DATA, reporter)
    total = sum(info.size_bytes for info in storage.list("packs"))
    assert ("reading packs", total) in reporter.phases
    assert reporter.done == total


@pytest.mark.parametrize("percent", [-1, 101])
def test_other_percentages_are_refused(repository: Repository, percent: int) -> None:
    for options in (CheckOptions(percent, 0), CheckOptions(0, percent)):
        with pytest.raises(UsageError, match="percentage"):
            check(repository, options)


def test_a_sample_says_what_it_left_out(repository: Repository) -> None:
    report = check(repository, CheckOptions(read_data_percent=1))
    assert any("sample" in line for line in report.not_proven)
    assert any("opened: packs (1)" in line for line in report.proven)


pack_ids = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=40, unique=True)
days = st.dates(date(2020, 1, 1), date(2100, 1, 1))


@given(ids=pack_ids, percent=st.sampled_from([1, 5, 7, 10, 33, 50, 99]), day=days)
def test_daily_samples_see_every_pack(ids: list[str], percent: int, day: date) -> None:
    samples = [choose(ids, percent, day + timedelta(days=number)) for number in range(-(-100 // percent) + 1)]
    assert set().union(*samples) == set(ids)
    assert all(sample for sample in samples) == bool(ids)
    assert samples[0] == choose(reversed(ids), percent, day)


def test_a_sample_is_about_as_large_as_asked_for() -> None:
    chance = random.Random(2)
    ids = [chance.randbytes(16).hex() for _ in range(20_000)]
    day = date(2026, 11, 21)
    sizes = [len(choose(ids, 10, day + timedelta(days=number))) for number in range(20)]
    assert all(1800 <= size <= 2200 for size in sizes)
    assert choose(ids, 100, day) == set(ids)
    assert choose(ids, 0, day) == set()
    firsts = [choose(ids, 10, day + timedelta(days=number)) for number in range(10)]
    assert not any(one & two for one, two in pairwise(firsts))


WAL_NAME = "wal/7123456789012345678/00000001/000000010000000000000001"


@pytest.mark.parametrize("options", [PACKS, DATA])
def test_a_damaged_wal_file_is_found_when_it_is_read(
    repository: Repository, storage: MemoryStorage, options: CheckOptions
) -> None:
    content = bytes(range(256)) * 100
    storage.put(WAL_NAME, sealed(repository.keys, WAL_NAME, content))
    assert check(repository, options).is_clean
    assert any("WAL archive (1" in line for line in check(repository, options).proven)
    flip(storage, WAL_NAME)
    (damage,) = check(repository, options).damages
    assert (damage.object_name, damage.kind) == (WAL_NAME, DamageKind.WAL_FILE)
    assert any("1 of 1 WAL files were not read" in line for line in check(repository).not_proven)
