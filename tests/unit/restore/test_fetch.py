"""A snapshot whose pages lie in chunks of many backups comes back whole; a failure ends all threads."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.page_chain import PAGE, Chain
from tests.unit.restore.test_tree import LAST, PlainLayout

from holdfast.errors import StorageError
from holdfast.progress import Silence
from holdfast.restore import assembly
from holdfast.restore.run import RestoreOptions, plan_restore, run_restore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.storage.base import Buffer

PAGES = 128 * 70 + 5
"""More than two groups of regions, and a region that is cut off."""


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A chain of backups between which pages changed everywhere, neighbours on both sides of a region's end too."""
    chance, root = random.Random(3), tmp_path_factory.mktemp("files")
    (root / "pages").write_bytes(chance.randbytes(PAGES * PAGE))
    (root / os.fsdecode(LAST)).write_text("what makes it start")
    chain = Chain(root, tmp_path_factory.mktemp("cache"))
    for _ in range(3):
        chain.back_up()
        with (root / "pages").open("r+b") as file:
            for page in [*chance.sample(range(PAGES), PAGES // 10), 127, 128]:
                file.seek(page * PAGE)
                file.write(chance.randbytes(PAGE))
    chain.back_up()
    return chain


def planned(chain: Chain, target: Path, threads: int) -> Callable[[], None]:
    """Plan a restore of the last snapshot; return what carries it out."""
    layout, options = PlainLayout(target), RestoreOptions(threads=threads)
    plan, reader = plan_restore(chain.repository, chain.links[-1].snapshot, layout, options)
    return lambda: run_restore(chain.repository, plan, reader, options, Silence())


@pytest.mark.parametrize("threads", [1, 6])
def test_scattered_pages_come_back_to_their_places(scattered: Chain, tmp_path: Path, threads: int) -> None:
    planned(scattered, tmp_path / "target", threads)()
    assert (tmp_path / "target" / "pages").read_bytes() == (scattered.root / "pages").read_bytes()


@pytest.mark.parametrize("threads", [1, 6])
def test_a_pack_that_is_lost_ends_the_restore_and_no_thread_waits_for_its_pages(
    scattered: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(assembly, "GROUPS_AT_ONCE", 1)
    storage = scattered.repository.storage
    get = storage.get
    for lost in sorted(info.name for info in storage.list("packs/data")):

        def get_most(name: str, *, lost: str = lost, offset: int = 0, length: int | None = None) -> Buffer:
            if name == lost:
                time.sleep(0.3)  # until the other threads have done what there was to do, and wait for the next group
                raise StorageError(f"{name} is lost")
            return get(name, offset=offset, length=length)

        restore = planned(scattered, tmp_path / lost.replace("/", "-"), threads)
        with monkeypatch.context() as patch:
            patch.setattr(storage, "get", get_most)
            with pytest.raises(StorageError, match="is lost"):
                restore()
