"""Repositories made once, and frozen: this code, and a stranger's, must read them for ever, byte for byte."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.unit.repository.building import NO_CACHE, data_of, read_back
from tests.vectors import stranger
from tests.vectors.content import OTHERS, PASSPHRASE, RECOVERY, SNAPSHOTS, WAL, WRITER_SECRET, XATTRS

from holdfast.errors import KeyRefusedError
from holdfast.progress import Silence
from holdfast.repository.cache import ObjectCache
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.identity import parse_identity
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.manifest import EntryKind
from holdfast.repository.opening import open_repository
from holdfast.repository.pack import list_packs
from holdfast.repository.repository import Repository
from holdfast.repository.salvage import read_pack_table
from holdfast.repository.unlock import Identity, Passphrase, Unlock
from holdfast.repository.walfile import WAL_PREFIX
from holdfast.repository.walread import StoredWalFile
from holdfast.storage.files import FilesStorage

HERE = Path(__file__).parent
SEALED, PLAIN = HERE / "format-1", HERE / "format-1-unencrypted"
WAYS = {
    "passphrase": (SEALED, Passphrase(PASSPHRASE)),
    "recovery": (SEALED, Identity(parse_identity(RECOVERY))),
    "unencrypted": (PLAIN, None),
}
every_way = pytest.mark.parametrize(("place", "unlock"), WAYS.values(), ids=WAYS)


def open_frozen(place: Path, unlock: Unlock | None) -> Repository:
    """Open one of them."""
    return open_repository(FilesStorage(str(place)), unlock, partial(ObjectCache, NO_CACHE))


@every_way
def test_every_snapshot_gives_back_what_it_was_made_of(place: Path, unlock: Unlock | None) -> None:
    repository = open_frozen(place, unlock)
    snapshots = {snapshot.tags[0]: snapshot for snapshot in repository.snapshots()}
    assert {tag: data_of(read_back(repository, snapshot)) for tag, snapshot in snapshots.items()} == SNAPSHOTS
    for snapshot in snapshots.values():
        entries = list(repository.entries(repository.reader(), snapshot))
        assert [entry for entry in entries if entry.kind is not EntryKind.FILE] == OTHERS
        assert all(entry.xattrs == XATTRS for entry in entries if entry.kind is EntryKind.FILE)
        assert snapshot.is_encrypted == (unlock is not None)


@every_way
def test_the_archive_gives_back_what_it_was_made_of(place: Path, unlock: Unlock | None) -> None:
    repository = open_frozen(place, unlock)
    names = [info.name for info in repository.storage.list(WAL_PREFIX)]
    assert {name: StoredWalFile(repository.storage, repository.keys, name).content() for name in names} == WAL


@every_way
def test_the_check_is_clean(place: Path, unlock: Unlock | None) -> None:
    report = check_repository(open_frozen(place, unlock), CheckOptions(read_data_percent=100), Silence())
    assert (report.damages, report.notices) == ((), ())


def test_every_construct_of_the_format_occurs() -> None:
    repository = open_frozen(*WAYS["recovery"])
    index = repository.usable_index()
    names = [info.name for info in repository.storage.list()]
    is_raw = index.stored == index.plain + 16
    assert is_raw.any()
    assert not is_raw.all()
    assert len([name for name in names if name.startswith("packs/data/")]) >= 3
    assert {slot.kind for slot in repository.key_slots()} == set(SlotKind)
    entries = list(repository.entries(repository.reader(), repository.snapshots()[0]))
    assert any(entry.extent_chunks for entry in entries)
    assert any(entry.extents for entry in entries)
    (changed,) = [
        entry for entry in repository.entries(repository.reader(), repository.snapshots()[1])
        if entry.path == b"base/1/1259"
    ]  # fmt: skip
    assert len(changed.extent_chunks) == 2, "no list lies over another one"
    sparse = read_back(repository, repository.snapshots()[0])[b"base/1/sparse"]
    assert sparse.covered < len(sparse.data)
    assert sum(repository.storage.stat(name).size_bytes for name in names) < 300_000


def test_the_writer_credential_lists_and_does_not_read() -> None:
    repository = open_frozen(SEALED, Identity(WRITER_SECRET, SlotKind.WRITER))
    with pytest.raises(KeyRefusedError):
        read_back(repository, repository.snapshots()[0])
    assert check_repository(repository, CheckOptions(read_packs_percent=100), Silence()).is_clean


@every_way
def test_trailers_say_what_the_index_says(place: Path, unlock: Unlock | None) -> None:
    repository = open_frozen(place, unlock)
    stored = [read_pack_table(repository.storage, repository.keys, ref) for ref, _ in list_packs(repository.storage)]
    index = repository.usable_index()
    assert sum(len(pack.table) for pack in stored) == len(index)
    assert {pack.pack for pack in stored} == set(index.packs)


STRANGERS = {
    "passphrase": partial(stranger.Repository, SEALED, passphrase=PASSPHRASE),
    "recovery": partial(stranger.Repository, SEALED, identity=stranger.parse_identity(RECOVERY)),
    "unencrypted": partial(stranger.Repository, PLAIN),
}


@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_reads_the_same_from_the_page_alone(make: partial[stranger.Repository]) -> None:
    repository = make()
    found = {
        snapshot["tags"][0]: {
            entry[0]: repository.content(entry) for entry in repository.entries(snapshot) if entry[1] == 1
        }
        for snapshot in repository.snapshots()
    }
    assert found == SNAPSHOTS
    assert repository.wal_files() == WAL
    packs = {place[0] for place in repository.places.values()}
    tables = [repository.trailer(name) for name in packs]
    assert {chunk: place for table in tables for chunk, place in table.items()} == repository.places
