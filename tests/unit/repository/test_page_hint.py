"""A hint that is right costs no page, and one that is wrong is found out when all pages are read (FAULTS 28)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.unit.repository.page_chain import PAGE, Chain, live_on
from tests.unit.repository.test_page_memory import damage, make_chain, seeds, write_page

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from holdfast.repository.manifest import Entry
    from holdfast.repository.page_memory import CachedMemory

ROUNDS = 6
NEWER = b"newer"


@dataclass
class Oracle:
    """A PageHint that knows what is on disk now and was there at the last backup; ``blind`` to some pages."""

    chain: Chain
    before: dict[bytes, bytes] = field(default_factory=dict)
    blind: set[int] = field(default_factory=set)
    too_many: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def remember(self) -> None:
        """Take what is on disk for the parent's."""
        self.before = {path.name.encode(): path.read_bytes() for path in self.chain.root.iterdir()}

    def named(self, entry: Entry, count: int) -> NDArray[np.bool_] | None:
        """Name the pages that differ, and some others."""
        was, is_now = self.before[entry.path], (self.chain.root / entry.path.decode()).read_bytes()
        pages = [slice(number * PAGE, (number + 1) * PAGE) for number in range(count)]
        named = [was[page] != is_now[page] or self.chance.random() < self.too_many for page in pages]
        return np.array([each and number not in self.blind for number, each in enumerate(named)], dtype=bool)

    def explains(self, page: memoryview) -> bool:
        """Whether the page says that it is newer than the backup's start."""
        return bytes(page[: len(NEWER)]) == NEWER


def follow(oracle: Oracle) -> CachedMemory:
    """Back up with the hint; return what was learned."""
    oracle.chain.prepare = lambda memory: memory.follow(oracle)
    oracle.chain.back_up()
    oracle.remember()
    return oracle.chain.memory


def review(oracle: Oracle) -> dict[bytes, list[int]]:
    """Back up reading all pages; return which were missed."""
    oracle.chain.prepare = lambda memory: memory.review(oracle)
    oracle.chain.back_up()
    oracle.remember()
    return {path: numbers.tolist() for path, numbers in oracle.chain.memory.missed.items()}


@seeds
def test_fault_28_whatever_happens_to_files_a_right_hint_loses_no_page(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    chain = make_chain(tmp_path, one=400, two=2100, three=33, small=7)
    oracle = Oracle(chain, chance=chance, too_many=chance.choice([0, 0.1, 0.9]))
    chain.back_up()
    oracle.remember()
    for _ in range(ROUNDS):
        live_on(chance, chain.root)
        follow(oracle)
        if chance.random() < 0.3:
            damage(chance, chain.page_cache, chance.randbytes(5000))
    assert review(oracle) == {}


def test_only_named_pages_are_read_and_their_hashes_decide(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=3000)
    oracle = Oracle(chain, too_many=0.01)
    chain.back_up()
    oracle.remember()
    for page in (0, 5, 6, 2999):
        write_page(chain.root / "one", page, b"x")
    memory = follow(oracle)
    assert chain.links[-1].bytes_read < 3000 * PAGE // 20
    assert memory.changed == {b"one": 4}


def test_a_region_that_is_named_almost_whole_is_read_whole(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=256)
    oracle = Oracle(chain)
    chain.back_up()
    oracle.remember()
    for page in range(120):
        write_page(chain.root / "one", page, b"y%d" % page)
    follow(oracle)
    assert chain.links[-1].bytes_read == 128 * PAGE


def test_fault_28_pages_that_a_hint_missed_are_reported_and_come_right(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400, two=40)
    oracle = Oracle(chain, blind={7, 70, 300})
    chain.back_up()
    oracle.remember()
    chain.is_compared = False
    for page in (7, 9, 70, 300):
        write_page(chain.root / "one", page, b"missed")
    follow(oracle)
    write_page(chain.root / "one", 9, b"again")  # a page that was named is none that was missed
    write_page(chain.root / "one", 300, NEWER)  # written since the backup began, of which the hint claims nothing
    follow(oracle)
    with pytest.raises(AssertionError, match=r"pages \[7, 70, 300\]"):
        chain.require_equal()
    chain.is_compared = True
    since = chain.memory.hinted_since
    assert since is not None
    assert review(oracle) == {b"one": [7, 70]}
    assert chain.memory.hinted_since is None
    assert review(oracle) == {}


def test_the_time_since_when_hints_are_followed_is_that_of_the_first(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400)
    oracle = Oracle(chain)
    chain.back_up()
    oracle.remember()
    first = follow(oracle).hinted_since
    assert first is not None
    assert follow(oracle).hinted_since == first
    chain.prepare = lambda memory: None
    chain.back_up()
    assert chain.memory.hinted_since == first, "what the hint left unread before is still not read"
    chain.prepare = lambda memory: memory.renew()
    chain.back_up()
    assert chain.memory.hinted_since is None


class Doubting:
    """An Inspector to whom every page that is stored is unsound."""

    def inspect(self, buffer: memoryview, pieces: object) -> None:
        """Small files are sound."""

    def inspect_pages(self, buffer: memoryview, source: object, offsets: np.ndarray) -> np.ndarray:
        """Find all."""
        return np.arange(len(offsets))


def test_a_page_that_is_not_sound_is_read_whatever_a_hint_says_and_is_none_that_was_missed(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400)
    oracle = Oracle(chain, blind={8})
    chain.back_up()
    oracle.remember()
    chain.inspector = Doubting()
    write_page(chain.root / "one", 8)
    assert review(oracle) == {}  # differs and was not named, but is torn or corrupt
    follow(oracle)
    assert chain.links[-1].bytes_read == PAGE


def test_a_file_under_the_name_of_another_is_read_whatever_a_hint_says(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400)
    oracle = Oracle(chain, blind=set(range(400)))
    chain.back_up()
    oracle.remember()
    (chain.root / "new").write_bytes(random.Random(3).randbytes(400 * PAGE))
    (chain.root / "new").rename(chain.root / "one")
    follow(oracle)
    assert chain.links[-1].bytes_read == 400 * PAGE
