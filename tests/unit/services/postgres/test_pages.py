"""Pages verified while they are read: what heals on reading again is torn, what stays the same is corrupt."""

import errno
import os
import struct

import numpy as np
import pytest

from holdfast import clock
from holdfast.postgres.page import PageVerifier
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.sources import FileSource, Piece
from holdfast.services.postgres import pages
from holdfast.services.postgres.pages import PageInspector, PageShape

BLOCK = 8192
SHAPE = PageShape(BLOCK, 131072)


def sealed(count, first_block=0):
    """Return pages with right checksums."""
    span = bytearray(np.random.default_rng(count).bytes(count * BLOCK))
    words = np.frombuffer(span, np.uint16).reshape(count, BLOCK // 2)
    words[:, 7] = 8000
    words[:, 4] = PageVerifier().checksums(span, np.arange(first_block, first_block + count, dtype=np.uint32))
    return span


def source_of(path, name=b"base/5/16384"):
    entry = Entry(name, EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, path.stat().st_size)
    return FileSource(entry, os.fsencode(path))


@pytest.fixture
def waits(monkeypatch):
    """The waits before pages are read again; they cost the test nothing."""
    waited = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    return waited


def inspect(path, content, name=b"base/5/16384", file_offset=0):
    inspector = PageInspector(SHAPE)
    inspector.inspect(memoryview(content), [Piece(source_of(path, name), file_offset, 0, len(content))])
    return [(page.path, page.block) for page in inspector.corrupt]


def test_right_pages_are_not_read_again(tmp_path, waits):
    path = tmp_path / "relation"
    path.write_bytes(sealed(40))
    assert inspect(path, path.read_bytes()) == []
    assert waits == []


def test_torn_page_heals_on_reading_again(tmp_path, waits):
    path = tmp_path / "relation"
    path.write_bytes(sealed(8))
    torn = bytearray(path.read_bytes())
    torn[3 * BLOCK + 4096 : 4 * BLOCK] = bytes(4096)  # half of it is the old page: the disk has the new one meanwhile
    assert inspect(path, torn) == []
    assert len(waits) == 1


def test_page_that_keeps_changing_is_in_flight(tmp_path, waits, monkeypatch):
    path = tmp_path / "relation"
    wrong = sealed(4)
    wrong[BLOCK + 100] ^= 1
    path.write_bytes(wrong)
    counter = iter(range(1, 9))
    monkeypatch.setattr(pages, "_read_page", lambda *_: bytes([next(counter)]) * BLOCK)
    assert inspect(path, wrong) == []


def test_same_wrong_bytes_are_corruption_with_block_and_lsn(tmp_path, waits):
    path = tmp_path / "relation"
    content = sealed(10, first_block=131072 + 512)
    struct.pack_into("<II", content, 2 * BLOCK, 0x16, 0xB374D848)
    content[7 * BLOCK + 9] ^= 0x80
    path.write_bytes(bytes(512 * BLOCK) + content)
    inspector = PageInspector(SHAPE)
    piece = Piece(source_of(path, b"base/5/16384.1"), 512 * BLOCK, 0, len(content))
    inspector.inspect(memoryview(content), [piece])
    found = sorted(inspector.corrupt, key=lambda page: page.block)
    assert [page.block for page in found] == [131072 + 514, 131072 + 519]
    assert (found[0].path, found[0].lsn) == ("base/5/16384.1", "16/B374D848")
    assert len(waits) == 3


def test_a_wrong_page_that_the_disk_does_not_give_again_is_corrupt(tmp_path, waits, monkeypatch):
    path = tmp_path / "relation"
    wrong = sealed(4)
    wrong[BLOCK + 100] ^= 1
    path.write_bytes(wrong)

    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pages.os, "pread", refuse)
    assert inspect(path, wrong) == [("base/5/16384", 1)]


def test_file_that_is_corrupt_throughout_waits_once_a_span(tmp_path, waits):
    path = tmp_path / "relation"
    content = np.random.default_rng(1).bytes(512 * BLOCK)
    path.write_bytes(content)
    assert len(inspect(path, content)) == 512
    assert len(waits) == 3


@pytest.mark.parametrize("change", [os.unlink, lambda path: os.truncate(path, BLOCK)])
def test_file_that_was_cut_or_dropped_meanwhile_is_not_corrupt(tmp_path, waits, change):
    path = tmp_path / "relation"
    content = sealed(4)
    content[2 * BLOCK + 1000] ^= 1
    path.write_bytes(content)
    source = source_of(path)
    change(path)
    inspector = PageInspector(SHAPE)
    inspector.inspect(memoryview(content), [Piece(source, 0, 0, len(content))])
    assert inspector.corrupt == []


@pytest.mark.parametrize(
    ("name", "is_looked_at"),
    [
        (b"base/5/16384", True),
        (b"base/5/16384_fsm", True),
        (b"base/5/16384_vm", True),
        (b"global/1260", True),
        (b"pg_tblspc/16400/PG_15_202209061/5/16401", True),
        (b"base/5/pg_filenode.map", False),
        (b"pg_xact/0000", False),
        (b"base/5/PG_VERSION", False),
        (b"postgresql.conf", False),
        (b"pg_wal/000000010000000000000001", False),
    ],
)
def test_only_relations_carry_checksums(tmp_path, waits, name, is_looked_at):
    path = tmp_path / "file"
    content = np.random.default_rng(2).bytes(BLOCK)
    path.write_bytes(content)
    assert bool(inspect(path, content, name)) == is_looked_at


def test_small_files_in_one_buffer_are_told_apart(tmp_path, waits):
    good, bad, odd = tmp_path / "good", tmp_path / "bad", tmp_path / "odd"
    good.write_bytes(sealed(2))
    wrong = sealed(3)
    wrong[BLOCK + 50] ^= 1
    bad.write_bytes(wrong)
    odd.write_bytes(b"15\n")
    for others in ([], [odd]):
        files = [(good, b"base/5/1"), *((each, b"base/5/PG_VERSION") for each in others), (bad, b"base/5/2")]
        buffer, pieces = bytearray(), []
        for path, name in files:
            pieces.append(Piece(source_of(path, name), 0, len(buffer), path.stat().st_size))
            buffer += path.read_bytes()
        inspector = PageInspector(SHAPE)
        inspector.inspect(memoryview(buffer), pieces)
        assert [(page.path, page.block) for page in inspector.corrupt] == [("base/5/2", 1)]


def test_zero_pages_and_a_page_cut_off_by_the_files_end_are_valid(tmp_path, waits):
    path = tmp_path / "relation"
    content = bytes(sealed(2)) + bytes(BLOCK) + b"x" * 100
    path.write_bytes(content)
    assert inspect(path, content) == []
