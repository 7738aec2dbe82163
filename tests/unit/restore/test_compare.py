"""A copy is compared byte by byte, each byte once; what is missing, short or changed differs, and nothing else."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.building import back_up, make_repository
from tests.unit.restore.test_tree import LAST, PlainLayout

from holdfast.progress import Silence
from holdfast.restore import on_disk
from holdfast.restore.compare import differing_wants
from holdfast.restore.run import RestoreOptions, plan_restore, run_restore
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 1 << 20
SMALL = [f"small-{number}" for number in range(5)]


class Copy:
    """A copy that was restored, and what of it differs from its snapshot."""

    def __init__(self, place: Path) -> None:
        source, chance = place / "source", random.Random(5)
        source.mkdir()
        (source / "large").write_bytes(chance.randbytes(5 * CHUNK + 100))
        for name in SMALL:
            (source / name).write_bytes(chance.randbytes(3000))
        (source / os.fsdecode(LAST)).write_text("what makes it start")
        self.root = place / "copy"
        self._repository = make_repository(MemoryStorage())
        snapshot = back_up(self._repository, source)
        layout, options = PlainLayout(self.root), RestoreOptions()
        self._plan, self._reader = plan_restore(self._repository, snapshot, layout, options)
        run_restore(self._repository, self._plan, self._reader, options, Silence())

    def differing(self) -> list[tuple[str, int, int]]:
        """Return (file, offset, length) of what differs."""
        wants = differing_wants(self._plan, self._reader, self._repository.keys, Silence(), 2)
        return sorted(
            (self._plan.files[file].path.name, offset, length)
            for file, offset, length in wants[["file", "file_offset", "length"]].tolist()
        )

    def have_in_memory(self) -> None:
        """Have all of it in the page cache."""
        for path in self.root.iterdir():
            path.read_bytes()

    def have_on_disk_only(self) -> None:
        """Have none of it in the page cache, where the file system is one of a disk."""
        for path in self.root.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def overwrite(self, name: str, offset: int, data: bytes) -> None:
        """Change a file in its middle."""
        with (self.root / name).open("r+b") as file:
            file.seek(offset)
            file.write(data)


def holds(want: tuple[str, int, int], at: int) -> bool:
    """Whether a want is one of the large file that holds a byte."""
    name, offset, length = want
    return name == "large" and offset <= at < offset + length


@pytest.fixture(params=[Copy.have_in_memory, Copy.have_on_disk_only])
def copy(tmp_path: Path, request: pytest.FixtureRequest) -> Copy:
    """A copy as it was restored, all of it or nothing of it in the page cache."""
    copy = Copy(tmp_path)
    request.param(copy)
    return copy


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes of the copy were read so far."""
    counts: list[int] = []
    preadv = os.preadv

    def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        counts.append(preadv(descriptor, buffers, offset))
        return counts[-1]

    monkeypatch.setattr(on_disk.os, "preadv", counting)
    return lambda: sum(counts)


def test_a_copy_as_it_was_restored_does_not_differ(copy: Copy) -> None:
    assert copy.differing() == []


def test_a_changed_byte_makes_its_chunk_differ_and_everything_is_read_once(
    copy: Copy, read_bytes: Callable[[], int]
) -> None:
    whole = sum(path.stat().st_size for path in copy.root.iterdir())
    copy.overwrite("large", 2 * CHUNK + 77, b"\0\1\2")
    copy.overwrite("large", 4 * CHUNK, b"\0\1\2")
    first, second = copy.differing()
    assert holds(first, 2 * CHUNK + 77)
    assert holds(second, 4 * CHUNK)
    assert read_bytes() <= whole


def test_what_is_in_memory_is_looked_at_there(copy: Copy, read_bytes: Callable[[], int]) -> None:
    copy.have_in_memory()
    copy.overwrite("large", 2 * CHUNK + 77, b"\0\1\2")
    (changed,) = copy.differing()
    assert holds(changed, 2 * CHUNK + 77)
    assert read_bytes() < CHUNK


def test_files_that_share_a_chunk_differ_together(copy: Copy) -> None:
    copy.overwrite(SMALL[2], 10, b"\0\1\2")
    assert {name for name, _, _ in copy.differing()} >= set(SMALL)
    assert "large" not in {name for name, _, _ in copy.differing()}


def test_what_is_missing_short_or_no_file_differs(copy: Copy) -> None:
    os.truncate(copy.root / "large", 5 * CHUNK)
    (cut_off,) = copy.differing()
    assert holds(cut_off, 5 * CHUNK)
    (copy.root / "large").unlink()
    everything = copy.differing()
    assert sum(length for _, _, length in everything) == 5 * CHUNK + 100
    (copy.root / "large").mkdir()
    assert copy.differing() == everything
