"""FAULTS 24: a lost index is rebuilt from the packs alone, whole; damaged packs are not taken for whole ones."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.building import (
    back_up,
    data_of,
    make_plain_repository,
    make_repository,
    read_back,
    reopen,
    tree_content,
    write_tree,
)

from holdfast.errors import DamageError
from holdfast.progress import Silence
from holdfast.repository import packer
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.index import ChunkIndex
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.pack import list_packs
from holdfast.repository.salvage import read_pack_table, salvage_packs
from holdfast.repository.unlock import Identity
from holdfast.storage.files import FilesStorage
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.repository import Repository


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files for several packs."""
    monkeypatch.setattr(packer, "PACK_BYTES", 200_000)
    chance = random.Random(9)
    write_tree(tmp_path / "tree", {f"{number}": chance.randbytes(chance.randrange(80_000)) for number in range(30)})
    return tmp_path / "tree"


def salvage(repository: Repository) -> int:
    """Index the packs that no index names; return how many."""
    there = [ref for ref, _ in list_packs(repository.storage)]
    return salvage_packs(repository.storage, repository.keys, repository.usable_index(), there)


def contents(index: ChunkIndex) -> set[tuple[bytes, str, int, int, int]]:
    """Return all that an index says of chunks."""
    found = set()
    for row, words in enumerate(index.ids_at(slice(None))):
        place = index.place(row)
        found.add((words.tobytes(), place.pack.ref.name, place.frame.offset, place.frame.stored, place.frame.plain))
    return found


def packs(index: ChunkIndex) -> set[tuple[str, int, bytes]]:
    """Return all that an index says of packs."""
    return {(pack.ref.name, pack.length, pack.digest) for pack in index.packs}


@pytest.mark.parametrize("make", [make_repository, make_plain_repository])
def test_fault_24_the_index_is_rebuilt_whole(tree: Path, make) -> None:
    storage = MemoryStorage()
    repository = make(storage)
    snapshots = [back_up(repository, tree)]
    (tree / "5").write_bytes(b"changed")
    snapshots.append(back_up(repository, tree))
    content = tree_content(tree)
    before = repository.usable_index()

    for info in list(storage.list("index")):
        storage.delete(info.name)
    assert len(repository.usable_index()) == 0
    assert salvage(repository) == len(before.packs) >= 4
    after = repository.usable_index()
    assert (len(after), contents(after), packs(after)) == (len(before), contents(before), packs(before))
    assert data_of(read_back(repository, snapshots[1])) == content
    assert check_repository(repository, CheckOptions(read_data_percent=100), Silence()).is_clean
    assert salvage(repository) == 0


def test_a_writer_credential_rebuilds_the_index(tree: Path) -> None:
    storage = MemoryStorage()
    owner = make_repository(storage)
    credential = Identity(b"w" * 32, SlotKind.WRITER)
    owner.add_key(credential, "host")
    snapshot = back_up(owner, tree)
    for info in list(storage.list("index")):
        storage.delete(info.name)
    writer = reopen(storage, credential)
    salvage(writer)
    assert data_of(read_back(owner, snapshot)) == tree_content(tree)


@pytest.mark.parametrize("spoil", ["delete", "junk"])
def test_the_next_backup_rebuilds_a_lost_or_damaged_index_object(tree: Path, spoil: str) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    first = back_up(repository, tree)
    data_packs = [info.name for info in storage.list("packs/data")]
    for info in list(storage.list("index")):
        storage.delete(info.name)
        if spoil == "junk":
            storage.put(info.name, b"junk" * 99)
    with pytest.raises(DamageError):
        read_back(repository, first)
    second = back_up(repository, tree)
    assert [info.name for info in storage.list("packs/data")] == data_packs
    for snapshot in (first, second):
        assert data_of(read_back(repository, snapshot)) == tree_content(tree)


def test_a_damaged_pack_is_never_indexed_anew(tree: Path) -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    back_up(repository, tree)
    for info in list(storage.list("index")):
        storage.delete(info.name)
    refs = [ref for ref, _ in list_packs(storage)]
    for ref in refs:
        data = bytearray(storage.get(ref.name))
        data[len(data) // 2] ^= 1
        storage.put(ref.name, data, must_not_exist=False)
        with pytest.raises(DamageError, match=ref.name):
            read_pack_table(storage, repository.keys, ref)
    assert salvage(repository) == 0
    snapshot = back_up(repository, tree)
    assert data_of(read_back(repository, snapshot)) == tree_content(tree)


def test_a_pack_outside_of_its_place_is_not_listed(tree: Path) -> None:
    storage = MemoryStorage()
    back_up(make_repository(storage), tree)
    known = list(list_packs(storage))
    name = known[0][0].name
    moved = name.replace(name.split("/")[2] + "/", "zz/")
    storage.put(moved, storage.get(name))
    storage.put("packs/data/readme", b"?")
    assert list(list_packs(storage)) == known


_PROGRAM = """
import sys
from pathlib import Path
from tests.unit.repository.building import back_up, reopen
from holdfast.repository import packer
from holdfast.repository.writer import WriterOptions
from holdfast.storage.files import FilesStorage
packer.PACK_BYTES = 200_000
back_up(reopen(FilesStorage(sys.argv[1])), Path(sys.argv[2]), options=WriterOptions(compression="none"))
"""


@pytest.mark.parametrize("point", ["session.opened", "pack.stored:3", "packs.flushed", "index.stored"])
def test_what_a_killed_run_stored_is_reused(tree: Path, tmp_path: Path, point: str) -> None:
    place = tmp_path / "repository"
    repository = make_repository(FilesStorage(str(place)))
    environment = {**os.environ, "HOLDFAST_CRASH_POINT": point}
    done = subprocess.run([sys.executable, "-c", _PROGRAM, str(place), str(tree)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL

    assert repository.snapshots() == []
    assert check_repository(repository, CheckOptions(read_data_percent=100), Silence()).is_clean
    kept = {info.name for info in repository.storage.list("packs/data")}
    assert bool(kept) == (point != "session.opened")
    snapshot = back_up(repository, tree)
    assert data_of(read_back(repository, snapshot)) == tree_content(tree)
    report = check_repository(repository, CheckOptions(read_data_percent=100), Silence())
    assert report.is_clean
    assert not any("in no index" in notice for notice in report.notices)
    assert [info.name for info in repository.storage.list("sessions")] == []
    if point != "session.opened":
        stored = sum(info.size_bytes for info in repository.storage.list("packs/data"))
        assert stored < 1.3 * sum(map(len, tree_content(tree).values()))
