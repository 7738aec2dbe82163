"""The cache of page hashes and its parent: what is lost or wrong of them costs time, and is said (FAULTS 28)."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.incremental.frozen import FrozenChain
from tests.integration.incremental.workload import World, adopt_copy, forget, make_template
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast.errors import DamageError, NoSpaceError
from holdfast.postgres.server import Server
from holdfast.progress import Silence
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.storage.base import Buffer

SETTINGS = {"autovacuum": "off", "max_wal_size": "64MB"}
UPDATE = "UPDATE a SET n = -n WHERE id % 700 = 1"


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A stopped cluster with some tables."""
    with temporary_clusters() as factory:
        yield make_template(factory, 15, SETTINGS, has_checksums=True)


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    """A copy of it that is backed up while it stands still."""
    found = World(adopt_copy(template, postgres_binaries(15), template.with_name(tmp_path.name)), random.Random(1))
    live(found)
    yield found
    forget(found)


def live(world: World, *statements: str) -> None:
    """Run statements, and stop."""
    world.cluster.start()
    sql(world.cluster, *statements, "CHECKPOINT")
    with Server.connect(world.cluster.conninfo()) as server:
        world.facts = server.probe()
    world.cluster.stop()


class Said(Silence):
    """A Reporter that keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        """Keep it."""
        self.texts.append(text)

    warning = notice


class Refusing(MemoryStorage):
    """A storage that can refuse to commit."""

    is_refusing = False

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object, unless it is a snapshot and these are refused."""
        if self.is_refusing and name.startswith("snapshots/"):
            raise NoSpaceError(f"put {name}: no")
        super().put(name, data, must_not_exist=must_not_exist)


def lose_the_last(chain: FrozenChain) -> str:
    chain.storage.delete(chain.snapshots[-1].object_name)
    return "there are no page hashes of the last snapshot"


def lose_all(chain: FrozenChain) -> str:
    for snapshot in chain.snapshots:
        chain.storage.delete(snapshot.object_name)
    return "there are no page hashes of the last snapshot"


def damage_the_last(chain: FrozenChain) -> str:
    name = chain.snapshots[-1].object_name
    content = bytes(chain.storage.get(name))
    chain.storage.delete(name)
    chain.storage.put(name, content[:-1] + bytes([content[-1] ^ 1]))
    return "a snapshot does not open"


def lose_metadata(chain: FrozenChain) -> str:
    for info in list(chain.storage.list("packs/meta")):
        chain.storage.delete(info.name)
    return "the last snapshot is damaged, so all files are read"


def lose_the_cache(chain: FrozenChain) -> str:
    (cache,) = chain.page_caches
    cache.unlink()
    return "there are no page hashes of the last snapshot"


def tear_the_cache(chain: FrozenChain) -> str:
    (cache,) = chain.page_caches
    cache.write_bytes(cache.read_bytes()[:-3])
    return "there are no page hashes of the last snapshot"


@pytest.mark.parametrize(
    "loss", [lose_the_last, lose_all, damage_the_last, lose_metadata, lose_the_cache, tear_the_cache]
)
def test_fault_28_without_parent_or_cache_chunk_ids_decide_and_it_is_said(
    loss: Callable[[FrozenChain], str], world: World, tmp_path: Path
) -> None:
    chain = FrozenChain(tmp_path / "cache")
    for _ in range(2):
        chain.back_up(world.root, world.facts)
        live(world, UPDATE)
    expected = loss(chain)
    chain.reporter = said = Said()
    snapshot = chain.back_up(world.root, world.facts)
    assert any(expected in text for text in said.texts), said.texts
    assert snapshot.facts["changed_page_count"] is None
    live(world, UPDATE)
    chain.reporter = said = Said()
    assert chain.back_up(world.root, world.facts).facts["changed_page_count"] > 0
    assert not any("page hashes" in text for text in said.texts)


def test_a_list_of_files_that_would_lie_in_a_damaged_pack_is_not_committed(world: World, tmp_path: Path) -> None:
    """Chunk ids say that it is there already, so it is not stored again: the snapshot would be damaged from birth."""
    chain = FrozenChain(tmp_path / "cache")
    chain.back_up(world.root, world.facts)
    for info in list(chain.storage.list("packs/meta")):
        content = bytearray(chain.storage.get(info.name))
        content[len(content) // 2 :: 4096] = bytes(each ^ 1 for each in content[len(content) // 2 :: 4096])
        chain.storage.delete(info.name)
        chain.storage.put(info.name, bytes(content))
    with pytest.raises(DamageError) as caught:
        chain.back_up(world.root, world.facts)
    assert caught.value.hint == f"move {caught.value.object_name} out of the storage, then run the backup again"
    assert [info.name for info in chain.storage.list("snapshots")] == [chain.snapshots[0].object_name]
    chain.storage.delete(caught.value.object_name)
    chain.back_up(world.root, world.facts)
    live(world, UPDATE)
    assert chain.back_up(world.root, world.facts).facts["changed_page_count"] > 0


def test_the_cache_is_that_of_the_last_snapshot_until_the_next_is_committed(world: World, tmp_path: Path) -> None:
    chain = FrozenChain(tmp_path / "cache", storage=Refusing())
    chain.back_up(world.root, world.facts)
    (cache,) = chain.page_caches
    before = cache.read_bytes()
    live(world, UPDATE)
    chain.storage.is_refusing = True
    with pytest.raises(NoSpaceError):
        chain.back_up(world.root, world.facts)
    assert cache.read_bytes() == before
    chain.storage.is_refusing = False
    assert chain.back_up(world.root, world.facts).facts["changed_page_count"] > 0
    assert cache.read_bytes() != before


def test_fault_28_number_of_a_dropped_table_used_again(world: World, tmp_path: Path) -> None:
    """The same path, size and, as told, times: nothing but what is in it is another."""
    rows = "AS SELECT i, md5((i * {0})::text) AS t FROM generate_series(1, 20000) AS i"
    world.use_numbers_again()
    live(world, "CREATE TABLE c " + rows.format(1))
    chain = FrozenChain(tmp_path / "cache")
    world.cluster.start()
    path = world.root / ask(world.cluster, "SELECT pg_relation_filepath('c')")
    world.cluster.stop()
    os.utime(path, (1, 1))
    chain.back_up(world.root, world.facts)
    live(world, "DROP TABLE c", "VACUUM pg_class")  # a dead row, too, keeps its number from being given again
    world.use_numbers_again()
    live(world, "CREATE TABLE d " + rows.format(7))
    assert path.exists(), "the number was not given again"
    os.utime(path, (1, 1))
    assert chain.back_up(world.root, world.facts).facts["changed_page_count"] >= path.stat().st_size // 8192
