"""Runs of a copy's files are given as they are on disk, wherever they begin and end."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from holdfast.restore.on_disk import CopyReader, Run, reads_as_zeros

if TYPE_CHECKING:
    from holdfast.restore.plan import RestorePlan

KIB = 1 << 10
UNREADABLE = Path("/proc/self/mem")
"""Where a process has no memory, as at 0, it gives EIO (proc(5)), as a file on a broken disk does."""


def test_runs_of_any_place_and_length(tmp_path: Path) -> None:
    chance = random.Random(3)
    contents = [chance.randbytes(3000 * KIB + 5), chance.randbytes(900 * KIB), b"short"]
    files = []
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        path.write_bytes(content)
        files.append(SimpleNamespace(path=path))
    plan = cast("RestorePlan", SimpleNamespace(files=files))
    with CopyReader(plan, memoryview(bytearray(4000 * KIB))) as reader:
        for _ in range(200):
            number = chance.randrange(3)
            size = len(contents[number])
            start = chance.randrange(size)
            end = chance.randrange(start, size) + 1
            run = Run(number, start, end - start)
            assert reader.content([run]) == contents[number][start:end]
            assert reader.cached(run) == (contents[number][start:end] if end - start >= 256 * KIB else None)
        assert reader.content([Run(0, 5, 300 * KIB), Run(1, 7, 9)]) == contents[0][5:][: 300 * KIB] + contents[1][7:16]
        for beyond in (Run(0, 2700 * KIB, 300 * KIB + 6), Run(1, 500 * KIB, 401 * KIB)):
            assert reader.content([beyond]) is None
            assert reader.cached(beyond) is None
        (tmp_path / "1").unlink()
        assert reader.content([Run(0, 0, 5)]) == contents[0][:5]
        assert reader.content([Run(1, 0, 5)]) is None
        assert reader.cached(Run(1, 0, 300 * KIB)) is None


def test_what_cannot_be_read_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(5000))
    plan = cast("RestorePlan", SimpleNamespace(files=[SimpleNamespace(path=UNREADABLE)]))
    with CopyReader(plan, memoryview(bytearray(300 * KIB))) as reader:
        assert reader.content([Run(0, 0, 5)]) is None
        assert reader.cached(Run(0, 0, 300 * KIB)) is None
    for path, expected in ((UNREADABLE, False), (tmp_path / "zeros", True)):
        descriptor = os.open(path, os.O_RDONLY)
        assert reads_as_zeros(descriptor, 0, 5000) is expected
        os.close(descriptor)
