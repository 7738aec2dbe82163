"""An object moved, swapped, cut off, brought from elsewhere or stored twice is refused, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.unit.repository.building import OWNER, back_up, data_of, make_repository, read_back, reopen, write_tree

from holdfast.errors import DamageError, KeyRefusedError
from holdfast.model import new_object_id
from holdfast.repository.index import INDEX_PREFIX, decode_index
from holdfast.repository.repository import Repository
from holdfast.repository.sealed import ObjectType, open_object
from holdfast.storage.memory import MemoryStorage

PREFIXES = ("keys", "index", "snapshots", "packs/data", "packs/meta")
Objects = dict[str, bytes]


def objects_of(storage: MemoryStorage) -> Objects:
    """Return everything that a storage holds."""
    return {info.name: bytes(storage.get(info.name)) for info in storage.list()}


def make_objects(root: Path, marker: bytes) -> Objects:
    """Return a repository with two snapshots."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    for number in range(2):
        write_tree(root, {"file": marker * (number + 1)})
        back_up(repository, root)
    return objects_of(storage)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """A repository."""
    return make_objects(tmp_path_factory.mktemp("one"), b"one")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Another one, with the same secret."""
    return make_objects(tmp_path_factory.mktemp("two"), b"two")


def storage_of(objects: Objects) -> MemoryStorage:
    """Return a storage that holds these objects."""
    storage = MemoryStorage()
    for name, data in objects.items():
        storage.put(name, data)
    return storage


def use_everything(repository: Repository) -> None:
    """Open all that a repository holds, one kind of object after the other, cause of damage first."""
    repository.key_slots()
    for info in repository.storage.list(INDEX_PREFIX):
        stored = repository.storage.get(info.name)
        decode_index(open_object(repository.keys, ObjectType.INDEX, info.name, stored), info.name)
    reader = repository.reader()
    for number in np.unique(reader.index.pack):
        reader.cipher(reader.index.packs[number])
    for snapshot in repository.snapshots():
        data_of(read_back(repository, snapshot))


def names_of(objects: Objects, prefix: str) -> list[str]:
    """Return the names below a prefix."""
    return [name for name in sorted(objects) if name.startswith(f"{prefix}/")]


def fresh_name(prefix: str) -> str:
    """Return a name that nothing has."""
    new = new_object_id()
    return f"{prefix}/{new[:2]}/{new}" if prefix.startswith("packs") else f"{prefix}/{new}"


def assert_refused(objects: Objects, *names: str) -> None:
    """Assert that use of a repository is refused, naming one of these objects."""
    with pytest.raises(DamageError) as caught:
        use_everything(reopen(storage_of(objects), OWNER))
    assert caught.value.object_name in names


def test_the_repository_is_good_to_begin_with(objects: Objects) -> None:
    use_everything(reopen(storage_of(objects), OWNER))
    assert all(names_of(objects, prefix) for prefix in PREFIXES)


@pytest.mark.parametrize("prefix", [prefix for prefix in PREFIXES if not prefix.startswith("packs")])
def test_a_copy_under_another_name_is_refused(objects: Objects, prefix: str) -> None:
    name, new = names_of(objects, prefix)[0], fresh_name(prefix)
    assert_refused({**objects, new: objects[name]}, new)


def test_a_key_slot_of_another_repository_does_not_open(objects: Objects, foreign: Objects) -> None:
    name, stranger = names_of(objects, "keys")[0], names_of(foreign, "keys")[0]
    renamed = foreign[stranger].replace(stranger.encode()[5:], name.encode()[5:])
    with pytest.raises(KeyRefusedError):
        reopen(storage_of({**objects, name: renamed}), OWNER)
    added = {**objects, stranger: foreign[stranger]}
    assert_refused(added, stranger)


@pytest.mark.parametrize("prefix", [prefix for prefix in PREFIXES if prefix != "keys"])
def test_an_object_of_another_repository_is_refused(objects: Objects, foreign: Objects, prefix: str) -> None:
    name = names_of(objects, prefix)[0]
    stranger = foreign[names_of(foreign, prefix)[0]]
    padded = {**objects, name: stranger}
    if prefix.startswith("packs"):  # of the length that the index says, or it would count as absent
        padded[name] = (stranger * 2)[: len(objects[name])]
    assert_refused(padded, name)


@pytest.mark.parametrize("prefix", ["index", "snapshots", "packs/data", "packs/meta"])
def test_swapped_objects_are_refused(objects: Objects, prefix: str) -> None:
    one, two = names_of(objects, prefix)[:2]
    swapped = {**objects, one: objects[two], two: objects[one]}
    with pytest.raises(DamageError) as caught:
        use_everything(reopen(storage_of(swapped), OWNER))
    # packs of another length than the index says count as absent: then what is lost is named
    assert caught.value.object_name in {one, two} or caught.value.object_name.startswith("chunk ")


@pytest.mark.parametrize("prefix", ["keys", "index", "snapshots"])
@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_an_object_that_is_cut_off_is_refused(objects: Objects, prefix: str, keep: int) -> None:
    name = names_of(objects, prefix)[0]
    assert_refused({**objects, name: objects[name][:keep]}, name)


@pytest.mark.parametrize("prefix", ["packs/data", "packs/meta"])
@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_pack_that_is_cut_off_counts_as_absent(objects: Objects, prefix: str, keep: int) -> None:
    names = names_of(objects, prefix)
    cut = {**objects, **{name: objects[name][:keep] for name in names}}
    with pytest.raises(DamageError, match="in no pack that is indexed and there"):
        use_everything(reopen(storage_of(cut), OWNER))


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.replace(b'"format":1', b'"format":1 '),
        lambda stored: stored.replace(b'"created":"2', b'"created":"3'),
        lambda stored: stored + b"\n",
        lambda stored: stored[:-1],
    ],
)
def test_an_altered_config_is_refused(objects: Objects, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DamageError, match="config"):
        reopen(storage_of({**objects, "config": change(objects["config"])}), OWNER)


def test_the_config_of_another_repository_opens_no_slot(objects: Objects, foreign: Objects) -> None:
    open_it = partial(reopen, storage_of({**objects, "config": foreign["config"]}), OWNER)
    with pytest.raises(KeyRefusedError, match="no key slot"):
        open_it()
