"""2,000 seeded mutations of a repository: each is noticed, none ends in a traceback, none yields wrong bytes."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.integration.repository.mutations import Objects, mutate
from tests.unit.repository.building import (
    OWNER,
    back_up,
    data_of,
    make_plain_repository,
    make_repository,
    read_back,
    reopen,
    tree_content,
    write_tree,
)

from holdfast.errors import HoldfastError
from holdfast.progress import Silence
from holdfast.repository import chunker, file_extents, intake, packer, page_gather, paged_file, tasks
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.compression import ContentClass
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.session import Session
from holdfast.repository.unlock import Identity, Passphrase
from holdfast.storage.files import FilesStorage
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.repository.repository import Repository
    from holdfast.storage.base import Storage

SEED = os.environ.get("HOLDFAST_TEST_SEED", "format-1")
PARTS = 8
ENCRYPTED, PLAIN = 2000, 400
WHOLE = CheckOptions(read_data_percent=100)


@dataclass(frozen=True)
class Original:
    """A repository before anything happened to it, and what it gives back."""

    objects: Objects
    content: dict[str, dict[bytes, bytes]]
    slots: tuple[str, ...]


@pytest.fixture(scope="module")
def small_pieces() -> Iterator[None]:
    """Small chunks and packs, so that a small repository has many of everything."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (chunker, intake, page_gather, paged_file):
            patch.setattr(module, "CHUNK_BYTES", 16 << 10)
        patch.setattr(tasks, "BUNDLE_FILE_BYTES", 4 << 10)
        patch.setattr(packer, "PACK_BYTES", 48 << 10)
        patch.setattr(file_extents, "INLINE_EXTENTS", 2)
        yield


def write_stages(root: Path, chance: random.Random) -> Iterator[None]:
    """Change a tree between backups."""
    write_tree(root, {f"small/{number}": chance.randbytes(chance.randrange(600)) for number in range(20)})
    write_tree(root, {"empty": b"", "base/1": b"page" * 24_000, "base/2": chance.randbytes(40_000)})
    yield
    write_tree(root, {"base/1": b"page" * 12_000 + b"leaf" * 14_000, "small/new": b"text " * 500})
    yield
    write_tree(root, {"base/3": b"".join(number.to_bytes(4, "big") for number in range(12_000))})
    yield


def build(repository: Repository, root: Path, seed: int) -> dict[str, dict[bytes, bytes]]:
    """Back up a changing tree three times; return what each snapshot should give back."""
    content = {}
    for _ in write_stages(root, random.Random(seed)):
        snapshot = back_up(repository, root, content_class=ContentClass.RELATION)
        content[snapshot.id] = tree_content(root)
    return content


def objects_of(storage: Storage) -> Objects:
    """Return everything that a storage holds."""
    return {info.name: bytes(storage.get(info.name)) for info in storage.list()}


def storage_of(objects: Objects) -> MemoryStorage:
    """Return a storage that holds these objects."""
    storage = MemoryStorage()
    for name, data in objects.items():
        storage.put(name, data)
    return storage


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, small_pieces: None) -> Original:
    """A repository on the files driver with three kinds of key slots and a session that nobody closed."""
    place = tmp_path_factory.mktemp("damage")
    (place / "tree").mkdir()
    storage = FilesStorage(str(place / "repository"))
    repository = make_repository(storage)
    repository.add_key(Passphrase(b"correct horse"), "people")
    repository.add_key(Identity(b"w" * 32, SlotKind.WRITER), "host")
    content = build(repository, place / "tree", 1)
    session, _ = Session.open(storage, repository.keys, "shop", "mail")
    heartbeat = objects_of(storage)
    session.close()
    slots = tuple(slot.id for slot in repository.key_slots())
    return Original(heartbeat, content, slots)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, small_pieces: None) -> Objects:
    """Another repository, with the same secret."""
    place = tmp_path_factory.mktemp("foreign")
    storage = MemoryStorage()
    repository = make_repository(storage)
    build(repository, place, 2)
    Session.open(storage, repository.keys, "shop", "mail")[0]._closing.set()
    return objects_of(storage)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, small_pieces: None) -> Original:
    """An unencrypted repository."""
    storage = MemoryStorage()
    content = build(make_plain_repository(storage), tmp_path_factory.mktemp("plain"), 3)
    return Original(objects_of(storage), content, ())


def examine(original: Original, objects: Objects, unlock: Identity | None) -> set[str]:
    """Return the ways in which a mutation was noticed; fail when bytes came back that were never stored."""
    try:
        repository = reopen(storage_of(objects), unlock)
    except HoldfastError as error:
        return {f"open: {type(error).__name__}"}
    hit: set[str] = set()
    noticed = {*notice_by_check(repository, original, hit)}
    return noticed | {*notice_by_reading(repository, original, hit)}


def notice_by_check(repository: Repository, original: Original, hit: set[str]) -> Iterator[str]:
    report = check_repository(repository, WHOLE, Silence())
    hit.update(snapshot for damage in report.damages for snapshot in damage.snapshots)
    yield from (f"damage: {damage.kind}" for damage in report.damages if damage.next_command)
    yield from ("notice" for _ in report.notices)
    if report.is_clean and tuple(slot.id for slot in repository.key_slots()) != original.slots:
        yield "key slots"


def notice_by_reading(repository: Repository, original: Original, hit: set[str]) -> Iterator[str]:
    try:
        snapshots = {snapshot.id: snapshot for snapshot in repository.snapshots()}
    except HoldfastError as error:
        yield f"list: {type(error).__name__}"
        return
    if snapshots.keys() != original.content.keys():
        yield "snapshots"
    for snapshot in snapshots.values():
        try:
            found = data_of(read_back(repository, snapshot))
        except HoldfastError as error:
            assert snapshot.id in hit, "the check did not say that this snapshot is hit"
            yield f"read: {type(error).__name__}"
            continue
        assert found == original.content[snapshot.id], "wrong bytes came back"


def is_harmless(what: str) -> bool:
    """Whether a mutation is one that no check could call damage: a session that ended looks just so."""
    return what.startswith("sessions/") and what.endswith("deleted")


def test_the_original_is_clean(encrypted: Original, plain: Original) -> None:
    assert examine(encrypted, encrypted.objects, OWNER) == set()
    assert examine(plain, plain.objects, None) == set()
    kinds = Counter(name.split("/")[0] for name in encrypted.objects)
    assert kinds["packs"] >= 6
    assert {"config": 1, "keys": 3, "index": 3, "snapshots": 3, "sessions": 1}.items() <= kinds.items()


@pytest.mark.parametrize("part", range(PARTS))
def test_mutations_of_an_encrypted_repository(encrypted: Original, foreign: Objects, part: int) -> None:
    print(f"HOLDFAST_TEST_SEED={SEED}")
    ways: Counter[str] = Counter()
    for number in range(part, ENCRYPTED, PARTS):
        objects, what = mutate(random.Random(f"{SEED}/{number}"), encrypted.objects, foreign)
        noticed = examine(encrypted, objects, OWNER)
        assert noticed or is_harmless(what), f"seed {SEED}, mutation {number}: {what}: went unnoticed"
        ways.update(noticed)
    print(dict(ways.most_common()))


def test_mutations_of_an_unencrypted_repository(plain: Original) -> None:
    print(f"HOLDFAST_TEST_SEED={SEED}")
    for number in range(PLAIN):
        objects, what = mutate(random.Random(f"{SEED}/plain/{number}"), plain.objects, plain.objects)
        assert examine(plain, objects, None), f"seed {SEED}, mutation {number}: {what}: went unnoticed"
