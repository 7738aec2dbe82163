"""A file is looked at where it lies in memory, and only when all of the part lies there."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from holdfast.restore.kernel_cache import cached_content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = 5


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """A new file, open."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_what_was_written_a_moment_ago_is_in_memory(descriptor: int) -> None:
    data = os.urandom(PAGES * mmap.PAGESIZE - 7)
    os.write(descriptor, data)
    assert cached_content(descriptor, 0, len(data)) == data
    rest = cached_content(descriptor, mmap.PAGESIZE, len(data) - mmap.PAGESIZE)
    assert rest == data[mmap.PAGESIZE :]


def test_a_page_that_is_not_in_memory_is_not_touched(descriptor: int) -> None:
    os.ftruncate(descriptor, PAGES * mmap.PAGESIZE)
    os.pwrite(descriptor, bytes(mmap.PAGESIZE), 0)
    os.pwrite(descriptor, bytes(mmap.PAGESIZE), 4 * mmap.PAGESIZE)
    assert cached_content(descriptor, 0, PAGES * mmap.PAGESIZE) is None
    assert cached_content(descriptor, 0, mmap.PAGESIZE) == bytes(mmap.PAGESIZE)


def test_what_is_beyond_the_end_or_no_file_is_none(descriptor: int, tmp_path: Path) -> None:
    os.write(descriptor, bytes(mmap.PAGESIZE))
    assert cached_content(descriptor, 0, 2 * mmap.PAGESIZE) is None
    directory = os.open(tmp_path, os.O_RDONLY)
    assert cached_content(directory, 0, mmap.PAGESIZE) is None
    os.close(directory)


def test_a_file_that_we_could_not_write_is_not_looked_at() -> None:
    """The kernel says of each page that it is in memory, whether or not: one that cannot be read would end us."""
    looked_at = (
        "import os, sys; from holdfast.restore.kernel_cache import cached_content;"
        "os.geteuid() or os.setuid(65534);"
        "sys.exit(cached_content(os.open('/bin/sh', os.O_RDONLY), 0, 4096) is not None)"
    )
    subprocess.run([sys.executable, "-c", looked_at], check=True)
