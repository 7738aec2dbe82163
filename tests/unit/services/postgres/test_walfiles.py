"""The WAL of a backup: every page that it needs is there, whatever else the files hold."""

import struct

import numpy as np
import pytest

from holdfast.errors import ServerError, VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import segments_between
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.walfiles import WalRange, history_sources, wal_sources

SIZE, PAGE, SYSTEM = 1 << 20, 8192, 7 << 60
START, STOP = Lsn.parse("0/2010028"), Lsn.parse("0/2230110")


def wal_range(start=START, stop=STOP):
    segments = list(segments_between(start, stop, Timeline(1), SIZE))
    return WalRange(segments, start, stop, PAGE, SYSTEM)


def write_segments(root, wal):
    (root / "pg_wal").mkdir()
    paths = []
    for segment in wal.segments:
        content = bytearray(np.random.default_rng(1).bytes(SIZE))
        for offset in range(0, SIZE, PAGE):
            struct.pack_into("<HHIQ", content, offset, 0xD110, 0, 1, segment.start + offset)
        struct.pack_into("<HHIQI4xQII", content, 0, 0xD110, 2, 1, segment.start, 0, SYSTEM, SIZE, PAGE)
        paths.append(root / "pg_wal" / segment.name)
        paths[-1].write_bytes(content)
    return paths


def change(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_whole_segments_are_sources(tmp_path):
    paths = write_segments(tmp_path, wal_range())
    sources = wal_sources(bytes(tmp_path), wal_range())
    assert [source.path for source in sources] == [bytes(path) for path in paths]
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("number", "offset", "content"),
    [
        (0, 2, bytes(2)),  # no long header
        (0, 24, struct.pack("<Q", SYSTEM + 1)),
        (1, 8, struct.pack("<Q", 0)),
        (0, 8 * PAGE, bytes(PAGE)),  # the page with the start
        (1, 5 * PAGE, bytes(3 * PAGE)),  # a hole
        (1, 5 * PAGE + 8, struct.pack("<Q", 0x1105000)),  # a page of the segment that this file was before
        (2, (0x30000 // PAGE) * PAGE + 8, struct.pack("<Q", 1)),  # the page with the stop
    ],
)
def test_damage_is_refused(tmp_path, number, offset, content):
    change(write_segments(tmp_path, wal_range())[number], offset, content)
    with pytest.raises(VerificationError) as caught:
        wal_sources(bytes(tmp_path), wal_range())
    assert "run the backup again" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "offset", "length"),
    [
        (0, PAGE, PAGE),  # before the start: on a standby, after a switch of timelines
        (1, 60 * PAGE, SIZE - 60 * PAGE),  # after a switch to the next segment
        (2, 0x32000, SIZE - 0x32000),  # after the stop
    ],
)
def test_zeros_where_no_wal_is_needed_are_no_damage(tmp_path, number, offset, length):
    change(write_segments(tmp_path, wal_range())[number], offset, bytes(length))
    assert len(wal_sources(bytes(tmp_path), wal_range())) == 3


def test_absent_or_short_segments_are_refused(tmp_path):
    paths = write_segments(tmp_path, wal_range())
    change(paths[1], 0, b"")
    with paths[1].open("r+b") as file:
        file.truncate(SIZE - 1)
    with pytest.raises(VerificationError, match="bytes long"):
        wal_sources(bytes(tmp_path), wal_range())
    paths[1].unlink()
    with pytest.raises(ServerError, match=f"{paths[1].name} is gone from pg_wal"):
        wal_sources(bytes(tmp_path), wal_range())


def test_stop_at_the_very_end_of_a_segment(tmp_path):
    wal = wal_range(stop=Lsn.parse("0/2200000"))
    assert len(write_segments(tmp_path, wal)) == 2
    assert len(wal_sources(bytes(tmp_path), wal)) == 2


def test_history_is_taken_where_there_is_one(tmp_path):
    (tmp_path / "pg_wal").mkdir()
    assert list(history_sources(bytes(tmp_path), "00000002")) == []
    (tmp_path / "pg_wal" / "00000002.history").write_text("1\t0/2000000\tno reason\n")
    assert [source.entry.path for source in history_sources(bytes(tmp_path), "00000002")] == [
        b"pg_wal/00000002.history"
    ]
