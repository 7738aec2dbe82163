"""A chain of backups of a directory of paged files, each built on the one before and on its cache of hashes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tests.unit.repository.building import commit, data_of, make_repository, read_back, sources_of, tree_content

from holdfast.progress import Silence
from holdfast.repository.compression import ContentClass
from holdfast.repository.page_memory import CachedMemory
from holdfast.repository.parent import NO_PARENT, Parent, load_parent
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import NoInspection
from holdfast.repository.writer import WriterOptions
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.repository.sources import Inspector

PAGE = 8192


@dataclass(frozen=True)
class Link:
    """One backup of a chain: its snapshot, and what it added to the repository."""

    snapshot: Snapshot
    new_plain_bytes: int
    bytes_read: int
    cache_failure: OSError | None


@dataclass
class Chain:
    """Backs a directory up again and again; every file is read each time, so hashes alone decide.

    ``prepare`` sees the memory of each backup before anything is read, and ``memory`` is that of the last one.
    """

    root: Path
    cache: Path
    repository: Repository = field(init=False)
    inspector: Inspector = field(default_factory=NoInspection)
    links: list[Link] = field(default_factory=list)
    prepare: Callable[[CachedMemory], None] = lambda _: None
    memory: CachedMemory = field(init=False)
    is_compared: bool = True

    def __post_init__(self) -> None:
        self.repository = make_repository(MemoryStorage(), cache=self.cache)

    @property
    def page_cache(self) -> Path:
        """The file with the hashes."""
        (found,) = (self.cache / self.repository.config.id / "pages").glob("*[!.new]")
        return found

    def back_up(self) -> Link:
        """Back up, on top of the last one, and prove that what comes back is what is on disk."""
        link = self.run()
        assert link.cache_failure is None
        return link

    def run(self) -> Link:
        """The same, where the cache may fail."""
        writer, _ = self.repository.writer("shop", "db", WriterOptions(threads=2))
        with writer:
            self.memory = memory = CachedMemory(writer.page_cache, self._parent(), PAGE)
            self.prepare(memory)
            pipeline = Pipeline(writer, self.inspector, Silence(), memory)
            capture = pipeline.capture(sources_of(self.root, ContentClass.RELATION))
            snapshot = commit(self.repository, writer, capture)
            read = capture.bytes_read
            self.links.append(Link(snapshot, writer.counts.plain_bytes, read, memory.commit(snapshot.id)))
        if self.is_compared:
            self.require_equal()
        return self.links[-1]

    def require_equal(self) -> None:
        """What the last snapshot holds is what is on disk, to the byte."""
        found, expected = data_of(read_back(self.repository, self.links[-1].snapshot)), tree_content(self.root)
        assert found.keys() == expected.keys()
        for path, content in expected.items():
            assert_equal_pages(path, found[path], content)

    def _parent(self) -> Parent:
        if not self.links:
            return NO_PARENT
        reader = self.repository.reader()
        snapshot = self.links[-1].snapshot
        return load_parent(snapshot, self.repository.entries(reader, snapshot), reader)


def assert_equal_pages(path: bytes, found: bytes, expected: bytes) -> None:
    """Compare, and name the pages that differ: an assertion on megabytes says nothing."""
    if found != expected:
        last = max(len(found), len(expected))
        pages = [at // PAGE for at in range(0, last, PAGE) if found[at : at + PAGE] != expected[at : at + PAGE]]
        raise AssertionError(f"{path!r}: {len(found)} bytes instead of {len(expected)}, pages {pages[:20]} differ")


# What may happen to a file of pages, to be drawn from


def write_pages(chance: random.Random, path: Path) -> None:
    """Write over pages here and there, or over a run of them."""
    pages = max(1, path.stat().st_size // PAGE)
    with path.open("r+b") as file:
        if chance.random() < 0.3:
            first, count = chance.randrange(pages), chance.randint(1, 200)
            chosen = list(range(first, min(pages, first + count)))
        else:
            chosen = chance.sample(range(pages), min(pages, chance.choice([1, 2, 10, 60, 300])))
        for page in chosen:
            file.seek(page * PAGE)
            file.write(bytes(PAGE) if chance.random() < 0.1 else chance.randbytes(PAGE))


def flip_a_bit(chance: random.Random, path: Path) -> None:
    """Change the least that can change."""
    size = path.stat().st_size
    if size:
        at = chance.randrange(size)
        with path.open("r+b") as file:
            file.seek(at)
            (byte,) = file.read(1) or b"\0"
            file.seek(at)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def swap_pages(chance: random.Random, path: Path) -> None:
    """Put two pages into each other's place."""
    pages = path.stat().st_size // PAGE
    if pages > 1:
        one, other = chance.sample(range(pages), 2)
        with path.open("r+b") as file:
            content = {}
            for page in (one, other):
                file.seek(page * PAGE)
                content[page] = file.read(PAGE)
            for page, source in ((one, other), (other, one)):
                file.seek(page * PAGE)
                file.write(content[source])


def resize(chance: random.Random, path: Path) -> None:
    """Cut the file off, or let it grow: with zeros, as a hole, or with half a page at its end."""
    size = max(0, path.stat().st_size + chance.randint(-300, 300) * PAGE + chance.choice([0, 0, 0, 100, 4096]))
    os.truncate(path, size)


def cut_and_regrow(chance: random.Random, path: Path) -> None:
    """Cut the file off and write it anew from there."""
    size = path.stat().st_size
    os.truncate(path, size // 2 // PAGE * PAGE)
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randint(0, 200) * PAGE))


def punch_hole(chance: random.Random, path: Path) -> None:
    """Make a file with holes of it: what was there becomes zeros that nobody stored."""
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    first = chance.randrange(max(1, len(content))) // (1 << 20) << 20
    last = first + chance.randint(1, 3) * (1 << 20)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(len(content))
        for start, end in ((0, first), (last, len(content))):
            if start < end:
                file.seek(start)
                file.write(content[start:end].tobytes())


def set_time_back(chance: random.Random, path: Path) -> None:
    """Change a page and say that it was long ago."""
    write_pages(chance, path)
    os.utime(path, (1, 1))


def exchange(chance: random.Random, path: Path) -> None:
    """Drop the file and let another take its name: as a number of a relation that is used again."""
    size = chance.randint(0, 500) * PAGE
    path.unlink()
    path.write_bytes(chance.randbytes(size))


MISHAPS: tuple[Callable[[random.Random, Path], None], ...] = (
    write_pages, write_pages, write_pages, flip_a_bit, swap_pages, resize, cut_and_regrow, punch_hole, set_time_back,
    exchange,
)  # fmt: skip


def live_on(chance: random.Random, root: Path) -> None:
    """Let something happen to some files of a directory; now and then one comes or goes."""
    names = sorted(path.name for path in root.iterdir())
    for name in chance.sample(names, min(len(names), chance.randint(0, 3))):
        for _ in range(chance.randint(1, 3)):
            chance.choice(MISHAPS)(chance, root / name)
    if chance.random() < 0.15:
        (root / f"new-{chance.randrange(1000)}").write_bytes(chance.randbytes(chance.randint(1, 400) * PAGE))
    if chance.random() < 0.1 and len(names) > 1:
        (root / chance.choice(names)).unlink()
