"""Beginning early changes when a file is read, and nothing else."""

from __future__ import annotations

import os

import pytest

from holdfast.errors import ServerError, VerificationError
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.walfile import SealOptions, open_wal_file, seal_wal_file
from holdfast.repository.walframes import FRAME_BYTES
from holdfast.wal.reading import read_early, read_wal_file

MIB = 1 << 20
NAME = "wal/7710580048371250305/00000001/000000010000000000000001"


@pytest.mark.parametrize("size", [0, 100, MIB, 2 * FRAME_BYTES + 5])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_what_was_begun_early_is_what_is_read_later(tmp_path, size, level):
    path = tmp_path / "000000010000000000000001"
    path.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
    early, late = read_early(str(path))(str(path), 16 * MIB), read_wal_file(str(path), 16 * MIB)
    assert (early.content, early.modified_ns) == (late.content, late.modified_ns)
    assert early.packed is not None
    assert late.packed is None
    keys = Keys("ab" * 16, new_keyring())
    stored = seal_wal_file(keys, NAME, early.content, SealOptions(level, 1, "now", "host"), early.packed)
    assert bytes(open_wal_file(keys, NAME, stored, 1)) == late.content


def test_what_goes_wrong_early_is_said_later(tmp_path):
    absent = str(tmp_path / "absent")
    with pytest.raises(ServerError, match="no such file"):
        read_early(absent)(absent, MIB)
    os.mkfifo(tmp_path / "fifo")
    fifo = str(tmp_path / "fifo")
    with pytest.raises(VerificationError, match="not a regular file"):
        read_early(fifo)(fifo, MIB)


def test_a_file_longer_than_a_segment_is_not_read_whole(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(2 * MIB + 1))
    with pytest.raises(VerificationError, match="longer than a segment"):
        read_wal_file(str(path), 2 * MIB)


def test_only_the_file_that_was_begun_is_given(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    assert read_early(str(tmp_path / "one"))(str(tmp_path / "other"), MIB).content == b"other"
