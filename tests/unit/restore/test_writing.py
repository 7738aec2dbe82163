"""Pieces are written back to back where they belong, directly or not, and whole, be it in several calls."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from holdfast.repository.buffers import large_buffer
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.restore.plan import PlannedFile
from holdfast.restore.writing import ALIGNMENT, DIRECT_FROM_BYTES, OpenFiles, joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MEMORY = large_buffer(1 << 20)
MEMORY[:] = random.Random(1).randbytes(1 << 20)

ALIGNED = [(40, 50), (7, 8), (100, 103), (0, 5)]
"""Places in MEMORY, in units of ALIGNMENT."""


def pieces_of(places: Sequence[tuple[int, int]], short_bytes: int) -> list[memoryview]:
    """Return pieces of MEMORY, the last of them a little short."""
    pieces = [memoryview(MEMORY)[start * ALIGNMENT : end * ALIGNMENT] for start, end in places]
    return [*pieces[:-1], pieces[-1][: len(pieces[-1]) - short_bytes]]


@pytest.mark.parametrize("short_bytes", [0, 100])
@pytest.mark.parametrize("size", [DIRECT_FROM_BYTES, DIRECT_FROM_BYTES - 1])
@pytest.mark.parametrize("taken", [1 << 30, 8 * ALIGNMENT, 10 * ALIGNMENT, 12345, 0])
def test_pieces_are_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, short_bytes: int, taken: int
) -> None:
    """``taken``: how much of a call the system writes."""

    def write_some(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
        return (
            os.pwrite(descriptor, b"".join(pieces)[:taken], offset)
            if taken < 1 << 30
            else write(descriptor, pieces, offset)
        )

    write = os.pwritev
    monkeypatch.setattr(os, "pwritev", write_some)
    path, pieces = tmp_path / "file", pieces_of(ALIGNED, short_bytes)
    entry = Entry(b"file", EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, size)
    files = OpenFiles([PlannedFile(entry, path, size)])
    files.write(0, 3 * ALIGNMENT, pieces, is_aligned=True)
    files.close_all()
    expected = bytes(3 * ALIGNMENT) + b"".join(pieces)
    assert path.read_bytes() == expected + bytes(size - len(expected))


def test_pieces_are_joined_in_their_order() -> None:
    pieces = pieces_of(ALIGNED, 77)
    assert joined(pieces, memoryview(bytearray(1 << 20))) == b"".join(pieces)
