"""Pages that cannot be read again: corrupt when they are from before the backup, or from after its end."""

import struct

import numpy as np
import pytest

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.page import PageVerifier
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.sources import FileSource, Piece
from holdfast.services.postgres.pages import PageShape
from holdfast.services.postgres.replication_pages import ArrivedPageInspector

START, STOP = Lsn(0x3000000), Lsn(0x5000000)
PATH = b"base/5/16384"


def page(lsn, *, flip=None):
    """Return a page as block 0, with the right checksum unless a bit of it is flipped."""
    content = bytearray(8192)
    struct.pack_into("<IIHHHH", content, 0, lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, 24, 8192)
    content[4000:4100] = b"x" * 100
    (checksum,) = PageVerifier().checksums(content, np.zeros(1, np.uint32))
    struct.pack_into("<H", content, 8, checksum)
    if flip is not None:
        content[flip] ^= 1
    return bytes(content)


def corrupt_among(content):
    """Return the LSNs of what is found corrupt in a page that is read as block 0 of a relation."""
    source = FileSource(Entry(PATH, EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, len(content)), b"")
    inspector = ArrivedPageInspector(PageShape(8192, 131072), START)
    inspector.inspect(memoryview(content), [Piece(source, 0, 0, len(content))])
    found = inspector.settle(STOP)
    assert all((each.path, each.block) == (PATH.decode(), 0) for each in found)
    return [each.lsn for each in found]


@pytest.mark.parametrize("lsn", [Lsn(0x1000000), START, Lsn(0x4000000), STOP, Lsn(0x6000000)])
def test_a_sound_page_is_sound_whenever_it_is_from(lsn):
    assert corrupt_among(page(lsn)) == []


def test_a_wrong_page_from_before_the_backup_is_corrupt():
    assert corrupt_among(page(Lsn(0x1000000), flip=5000)) == ["0/1000000"]


@pytest.mark.parametrize("lsn", [START, Lsn(0x4000000), STOP])
def test_a_wrong_page_that_recovery_writes_anew_is_not(lsn):
    assert corrupt_among(page(lsn, flip=5000)) == []


def test_a_wrong_page_from_after_the_end_is_corrupt():
    assert corrupt_among(page(Lsn(0x6000000), flip=5000)) == ["0/6000000"]


def test_a_page_without_a_header_is_about_to_be_written():
    assert corrupt_among(bytes(8192)) == []
    assert corrupt_among(bytes(24) + page(START)[24:]) == []
    unformatted = bytearray(page(Lsn(0x1000000)))
    unformatted[14:16] = bytes(2)  # pd_upper
    assert corrupt_among(bytes(unformatted)) == ["0/1000000"]
