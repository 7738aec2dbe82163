"""After whatever happened, every page of an incremental snapshot is the page on disk (FAULTS 28); seeds are printed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.incremental.frozen import FrozenChain
from tests.integration.incremental.workload import World, adopt_copy, forget, make_template
from tests.servers.postgres import postgres_binaries, temporary_clusters
from tests.unit.repository.test_page_memory import damage

from holdfast import clock
from holdfast.repository import parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 4
SETTINGS = {"autovacuum": "off", "min_wal_size": "2MB", "max_wal_size": "16MB", "shared_buffers": "16MB"}
ORDINARY = [*((15, seed) for seed in range(5)), (17, 0), (18, 0)]
LONG = [*((15, seed) for seed in range(5, 8)), *((major, seed) for major in (15, 17, 18) for seed in range(100, 200))]


@pytest.fixture(scope="module")
def templates() -> Iterator[dict[int, Path]]:
    """Stopped clusters with some tables, by major version; and where copies of them may be made."""
    with temporary_clusters() as factory:
        yield {major: make_template(factory, major, SETTINGS, has_checksums=major > 15) for major in (15, 17, 18)}


def set_clock_back(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine's clock be hours late, or right again: the last snapshot may then seem to be an older one."""
    late, present = timedelta(hours=chance.choice([0, 1, 30])), datetime.now
    monkeypatch.setattr(clock, "now", lambda: present(UTC) - late)


@pytest.mark.parametrize(
    ("major", "seed"),
    [*ORDINARY, *(pytest.param(major, seed, marks=pytest.mark.slow) for major, seed in LONG)],
)
def test_fault_28_every_page_of_an_incremental_backup_is_the_page_on_disk(
    major: int, seed: int, templates: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    if chance.random() < 0.7:  # trust what looks unchanged at once: the rounds are quicker than a clock's grain
        monkeypatch.setattr(parent, "_GRAIN_NS", -(10**18))
    template = templates[major]
    world = World(adopt_copy(template, postgres_binaries(major), template.with_name(f"data-{seed}")), chance)
    chain = FrozenChain(tmp_path / "cache")
    try:
        for _ in range(ROUNDS):
            world.live()
            if chance.random() < 0.15:
                world.done.append("set_clock_back")
                set_clock_back(chance, monkeypatch)
            chain.back_up(world.root, world.facts)
            if chance.random() < 0.6:
                world.suffer()
                chain.back_up(world.root, world.facts)
            if chance.random() < 0.2:
                world.done.append("damage")
                (cache,) = chain.page_caches
                damage(chance, cache, chance.randbytes(5000))
        world.vandalise()
        chain.back_up(world.root, world.facts)
        world.vandalise()
        chain.back_up(world.root, world.facts)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {', '.join(world.done)}: {error}") from error
    finally:
        forget(world)
