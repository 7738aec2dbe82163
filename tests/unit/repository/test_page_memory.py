"""Changed pages alone are stored, and whatever happens to files or cache, what comes back is what was (FAULTS 28)."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.unit.repository.page_chain import (
    PAGE,
    Chain,
    cut_and_regrow,
    live_on,
    resize,
    swap_pages,
    write_pages,
)

from holdfast.progress import Silence
from holdfast.repository import paged_file
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.file_extents import load_extents

ROUNDS = 6
seeds = pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 150))]
)


def make_chain(tmp_path: Path, **files: int) -> Chain:
    """Return a chain over files of random pages, by name and number of pages."""
    root = tmp_path / "files"
    root.mkdir()
    for name, pages in files.items():
        (root / name).write_bytes(random.Random(name).randbytes(pages * PAGE))
    return Chain(root, tmp_path / "cache")


def write_page(path: Path, page: int, content: bytes = b"changed") -> None:
    """Write over one page."""
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(content.ljust(PAGE, b"!"))


def test_nothing_changed_stores_nothing(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=700, other=3000)
    chain.back_up()
    assert chain.links[0].new_plain_bytes >= 3700 * PAGE
    assert chain.back_up().new_plain_bytes == 0


def test_changed_pages_are_stored_and_no_others(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=3000, other=9000)
    chain.back_up()
    for page in (0, 5, 6, 7, 2999):
        write_page(tmp_path / "files" / "one", page)
    for page in range(100, 9000, 80):
        write_page(tmp_path / "files" / "other", page, b"%d" % page)
    link = chain.back_up()
    extent_lists = 2 * 48 * 600
    assert (5 + 112) * PAGE <= link.new_plain_bytes < (5 + 112) * PAGE + extent_lists
    assert chain.back_up().new_plain_bytes == 0


@seeds
def test_fault_28_whatever_happens_to_files_every_page_comes_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    chain = make_chain(tmp_path, one=400, two=2100, three=33, small=7)
    for _ in range(ROUNDS):
        chain.back_up()
        live_on(chance, chain.root)
    chain.back_up()
    assert check_repository(chain.repository, CheckOptions(read_data_percent=100), Silence()).is_clean


def damage(chance: random.Random, cache: Path, foreign: bytes) -> None:
    """Do something bad to a cache."""
    content = bytearray(cache.read_bytes())
    match chance.randrange(5):
        case 0:
            for _ in range(chance.choice([1, 10, 1000])):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        case 1:
            del content[chance.randrange(len(content)) :]
        case 2:
            content[:] = foreign
        case 3:
            at = chance.randrange(len(content))
            content[at : at + 5000] = bytes(len(content[at : at + 5000]))
        case 4:
            content[:] = chance.randbytes(chance.randint(0, 5000))
    cache.write_bytes(content)


@seeds
def test_fault_28_whatever_happens_to_the_cache_every_page_comes_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    (tmp_path / "foreign").mkdir()
    foreign = make_chain(tmp_path / "foreign", one=400, two=600)
    foreign.back_up()
    chain = make_chain(tmp_path, one=400, two=600, small=7)
    for _ in range(ROUNDS):
        chain.back_up()
        live_on(chance, chain.root)
        damage(chance, chain.page_cache, foreign.page_cache.read_bytes())
    chain.back_up()


@seeds
def test_fault_28_what_changed_while_it_was_read_is_right_the_next_time(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn, cut off, grown and written over between two blocks: what is remembered of a page is what was stored."""
    chance, lock, read = random.Random(seed), threading.Lock(), paged_file.read_full
    chain = make_chain(tmp_path, one=400, two=600)

    def read_and_change(descriptor: int, offset: int, buffer: memoryview) -> int:
        count = read(descriptor, offset, buffer)
        with lock:
            if chance.random() < 0.15:
                chance.choice((write_pages, swap_pages, resize, cut_and_regrow))(chance, chain.root / "one")
        return count

    for _ in range(ROUNDS):
        monkeypatch.setattr(paged_file, "read_full", read_and_change)
        chain.is_compared = False
        chain.run()
        monkeypatch.setattr(paged_file, "read_full", read)
        chain.is_compared = True
        chain.back_up()


def test_a_cache_of_an_older_snapshot_is_not_believed(tmp_path: Path) -> None:
    """It would say that a page is known as it was two backups ago, which the parent does not have any more."""
    chain = make_chain(tmp_path, one=400)
    path = chain.root / "one"
    before = path.read_bytes()
    os.utime(path, (1, 1))  # so that the file itself looks the same each time
    chain.back_up()
    old = chain.page_cache.read_bytes()
    write_page(path, 7)
    os.utime(path, (1, 1))
    chain.back_up()
    chain.page_cache.write_bytes(old)
    with path.open("r+b") as file:
        file.write(before)
    os.utime(path, (1, 1))
    chain.back_up()


def test_a_lost_cache_costs_what_is_fragmented_and_not_what_is_whole(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=128 * 20)
    chain.back_up()
    write_page(chain.root / "one", 300)
    chain.back_up()
    chain.page_cache.unlink()
    assert 128 * PAGE <= chain.back_up().new_plain_bytes < 129 * PAGE
    assert chain.back_up().new_plain_bytes == 0


class Doubting:
    """An Inspector to whom one page is unsound, whatever it holds."""

    def __init__(self, page: int) -> None:
        self.page, self.seen = page, 0

    def inspect(self, buffer: memoryview, pieces: object) -> None:
        """Small files are sound."""

    def inspect_pages(self, buffer: memoryview, source: object, offsets: np.ndarray) -> np.ndarray:
        """Find the page, and count how often it was seen."""
        found = np.flatnonzero(offsets == self.page * PAGE)
        self.seen += len(found)
        return found


def test_an_unsound_page_is_looked_at_again_each_time(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400)
    chain.inspector = inspector = Doubting(77)
    for times in range(1, 4):
        chain.back_up()
        assert inspector.seen == times


def test_the_cache_is_a_thousandth_of_the_pages(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, **{f"file{number}": 33 + number * 10 for number in range(100)})
    chain.back_up()
    assert chain.page_cache.stat().st_size * 1000 < 1.5 * sum(path.stat().st_size for path in chain.root.iterdir())


def test_a_directory_that_cannot_be_written_costs_the_cache_alone(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=400)
    chain.back_up()
    chain.page_cache.unlink()
    directory = chain.cache / chain.repository.config.id / "pages"
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    directory.write_bytes(b"in the way")
    assert isinstance(chain.run().cache_failure, OSError)


def test_a_hundred_backups_use_chunks_that_are_not_much_more_than_the_file(tmp_path: Path) -> None:
    """What a restore has to fetch stays bounded, healing costs no more than the changes, and not all in one backup."""
    chance = random.Random(7)
    chain = make_chain(tmp_path, one=128 * 12)
    chain.back_up()
    costs = []
    for _ in range(100):
        for page in chance.sample(range(128 * 12), 30):
            write_page(chain.root / "one", page, chance.randbytes(PAGE))
        costs.append(chain.back_up().new_plain_bytes - 2 * 48 * 128 * 12)  # the list of extents, at most twice
    reader = chain.repository.reader()
    (entry,) = chain.repository.entries(reader, chain.links[-1].snapshot)
    chunks = {bytes(chunk) for chunk in load_extents(entry, reader.read)["chunk"]}
    fetched = sum(len(chunk) for chunk in reader.read_many(sorted(chunks)))
    assert fetched < 1.45 * entry.size
    assert sum(costs) < 2 * 100 * 30 * PAGE
    assert max(costs) < 6 * 128 * PAGE  # half of the regions at most
    assert check_repository(chain.repository, CheckOptions(), Silence()).is_clean


def test_what_is_still_needed_of_a_worn_chunk_moves_with_the_next_change(tmp_path: Path) -> None:
    chain = make_chain(tmp_path, one=128 * 3)
    chain.back_up()
    for page in range(90):
        write_page(chain.root / "one", page)
    assert chain.back_up().new_plain_bytes >= 90 * PAGE
    write_page(chain.root / "one", 300)
    assert chain.back_up().new_plain_bytes < 2 * PAGE, "the region did not change, and nothing heals"
    write_page(chain.root / "one", 3, b"again")
    assert 39 * PAGE <= chain.back_up().new_plain_bytes < 40 * PAGE
    reader = chain.repository.reader()
    (entry,) = chain.repository.entries(reader, chain.links[-1].snapshot)
    assert len(set(load_extents(entry, reader.read)["chunk"].tolist())) == 5


@pytest.mark.parametrize("seed", range(4))
def test_a_parent_that_lost_packs_is_read_anew_where_it_did(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    chain = make_chain(tmp_path, one=400, two=900, small=7)
    for _ in range(4):
        chain.back_up()
        live_on(chance, chain.root)
        names = sorted(info.name for info in chain.repository.storage.list("packs/data"))
        chain.repository.storage.delete(chance.choice(names))
    chain.back_up()
