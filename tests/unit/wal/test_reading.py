"""Beginning early changes when a file is read, and nothing else."""

from __future__ import annotations

import os
import threading

import pytest

from holdfast.errors import ServerError, VerificationError
from holdfast.repository.walframes import FRAME_BYTES, FrameCompressor
from holdfast.wal.early import EarlyRead
from holdfast.wal.reading import read_wal_file, reader

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 100, MIB, 2 * FRAME_BYTES + 5])
def test_what_was_begun_early_is_what_is_read_later(tmp_path, size):
    path = tmp_path / "000000010000000000000001"
    path.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
    early, late = reader(EarlyRead(str(path)))(str(path), 16 * MIB), read_wal_file(str(path), 16 * MIB)
    assert (early.length_bytes, early.modified_ns) == (late.length_bytes, late.modified_ns)
    for number, (one, other) in enumerate(zip(early.frames(), late.frames(), strict=True)):
        assert one == other
        assert early.packed(number, 1) == FrameCompressor(1).compress(other)
        assert early.packed(number, 3) is late.packed(number, 1) is None
    late.close()


def test_what_goes_wrong_early_is_said_later(tmp_path):
    absent = str(tmp_path / "absent")
    with pytest.raises(ServerError, match="no such file"):
        reader(EarlyRead(absent))(absent, MIB)
    os.mkfifo(tmp_path / "fifo")
    fifo = str(tmp_path / "fifo")
    with pytest.raises(VerificationError, match="not a regular file"):
        reader(EarlyRead(fifo))(fifo, MIB)


def test_a_file_longer_than_a_segment_is_not_read_whole(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(2 * MIB + 1))
    with pytest.raises(VerificationError, match="longer than a segment"):
        read_wal_file(str(path), 2 * MIB)


def test_only_the_file_that_was_begun_is_given(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    assert reader(EarlyRead(str(tmp_path / "one")))(str(tmp_path / "other"), MIB).length_bytes == 5


def test_where_there_are_no_threads_the_file_is_read_late(tmp_path, monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    (tmp_path / "one").write_text("one")
    path = str(tmp_path / "one")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    file = reader(EarlyRead(path))(path, MIB)
    assert [bytes(frame) for frame in file.frames()] == [b"one"]
    file.close()
