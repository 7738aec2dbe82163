"""Patching makes a file what it should be, whatever it was, and writes no more than the blocks that differ."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StorageError
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.restore.delta_patch import BLOCK_BYTES, Patches, gaps_of
from holdfast.restore.plan import WANT_DTYPE, PlannedFile

BLOCKS = st.lists(st.integers(0, 3), max_size=12)
"""A file as blocks of one repeated byte: few bytes, so that many blocks are alike."""


def content(blocks: list[int], tail: int) -> bytes:
    return b"".join(bytes([each]) * BLOCK_BYTES for each in blocks) + b"t" * tail


@given(BLOCKS, st.integers(0, 9), BLOCKS, st.integers(0, 9), st.sets(st.integers(0, 11)), st.integers(0, 9000))
def test_a_patched_file_is_as_wanted(wanted_blocks, wanted_tail, found_blocks, found_tail, holes, cut):
    wanted = bytearray(content(wanted_blocks, wanted_tail))
    wants = []
    for at in range(0, len(wanted), 2 * BLOCK_BYTES):
        end = min(at + 2 * BLOCK_BYTES, len(wanted))
        if at // (2 * BLOCK_BYTES) in holes:
            wanted[at:end] = bytes(end - at)
        else:
            wants.append((0, 0, at, end - at, 0))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        found = content(found_blocks, found_tail)
        path.write_bytes(found)
        entry = Entry(b"file", EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, len(wanted))
        plan = SimpleNamespace(files=(PlannedFile(entry, path, 0),), wants=np.array(wants, dtype=WANT_DTYPE))
        patches = Patches(plan)
        for _, _, offset, length, _ in wants:
            data = memoryview(bytes(wanted[offset : offset + length]))
            patches.write(0, offset, [data[:cut], data[cut:]] if 0 < cut < length else [data], is_aligned=False)
        patches.close(0)
        patches.settle(0, gaps_of(plan).get(0, []))
        assert path.read_bytes() == wanted
        if found == wanted:
            assert patches.written_bytes == 0
        assert patches.written_bytes <= len(wanted)


@pytest.mark.parametrize("is_cut_off", [False, True])
def test_a_file_that_somebody_takes_away_meanwhile_does_not_become_zeros(is_cut_off):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        entry = Entry(b"file", EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, 9000)
        if is_cut_off:
            path.write_bytes(bytes(8999))
        patches = Patches(SimpleNamespace(files=(PlannedFile(entry, path, 9000),)))
        with pytest.raises(StorageError, match="by somebody else"):
            patches.settle(0, [])
        assert path.exists() == is_cut_off
