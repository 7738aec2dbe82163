"""What is let into the archive: exactly the file that its name says, of exactly this cluster."""

from __future__ import annotations

import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.segment import Segment, parse_segment_name
from holdfast.postgres.timeline import Timeline
from holdfast.repository.walframes import InMemory
from holdfast.wal.validate import CheckedContent

MIB = 1 << 20
IDENTIFIER = "7710580048371250305"


def make_segment(segment: Segment, *, pages: int | None = None, page_timeline: int | None = None) -> bytearray:
    """Return a segment with the headers of real ones; only the first ``pages`` were written."""
    block = 8192
    content = bytearray(segment.size_bytes)
    timeline = page_timeline or segment.timeline
    count = segment.size_bytes // block if pages is None else pages
    for page in range(count):
        address = int(segment.start) + page * block
        struct.pack_into("<HHIQ", content, page * block, 0xD110, 0x0002 if page == 0 else 0, timeline, address)
    struct.pack_into("<QII", content, 24, int(IDENTIFIER), segment.size_bytes, block)
    return content


def accepts(name: str, content: bytes, size: int = MIB) -> bool:
    """Whether a file is let in."""
    try:
        deque(CheckedContent(name, InMemory(content), IDENTIFIER, size).frames(), maxlen=0)
    except VerificationError:
        return False
    return True


@given(number=st.integers(0, 2**40 - 2), timeline=st.integers(1, 2**32 - 1), power=st.integers(20, 24))
def test_a_whole_segment_is_let_in_under_its_name_only(number: int, timeline: int, power: int):
    segment = Segment(Timeline(timeline), number, 1 << power)
    content = bytes(make_segment(segment))
    assert accepts(segment.name, content, 1 << power)
    assert not accepts(segment.next().name, content, 1 << power)
    assert not accepts(segment.name, content[:-1], 1 << power)
    assert not accepts(segment.name, content, 1 << (power + 1))


def test_the_very_last_segment():
    last = Segment(Timeline(1), 2**44 - 1, MIB)
    assert accepts(last.name, bytes(make_segment(last)))


SEGMENT = parse_segment_name("00000003000000010000000A", MIB)


@given(page=st.integers(0, 127), bit=st.integers(0, 63))
def test_every_page_must_be_of_its_place(page: int, bit: int):
    content = make_segment(SEGMENT)
    content[page * 8192 + 8 + bit // 8] ^= 1 << bit % 8
    assert not accepts(SEGMENT.name, bytes(content))


@given(pages=st.integers(1, 128))
def test_after_a_switch_there_are_zeros(pages: int):
    assert accepts(SEGMENT.name, bytes(make_segment(SEGMENT, pages=pages)))
    content = make_segment(SEGMENT, pages=pages)
    if pages < 127:
        content[127 * 8192 + 8 : 127 * 8192 + 16] = (int(SEGMENT.start) + 127 * 8192).to_bytes(8, "little")
        assert not accepts(SEGMENT.name, bytes(content))


def test_a_partial_segment_may_end_in_what_it_was_recycled_from():
    content = make_segment(SEGMENT, pages=40)
    old = make_segment(Segment(SEGMENT.timeline, SEGMENT.number - 5, MIB))
    content[40 * 8192 :] = old[40 * 8192 :]
    assert accepts(f"{SEGMENT.name}.partial", bytes(content))
    assert not accepts(SEGMENT.name, bytes(content))
    assert not accepts(f"{SEGMENT.name}.partial", bytes(old))


@pytest.mark.parametrize(("timeline", "is_right"), [(1, True), (2, True), (3, True), (4, False), (0, False)])
def test_the_first_pages_of_a_timeline_may_be_its_parents(timeline: int, is_right: bool):
    content = make_segment(SEGMENT)
    struct.pack_into("<I", content, 4, timeline)
    assert accepts(SEGMENT.name, bytes(content)) is is_right


@pytest.mark.parametrize(
    ("offset", "what"), [(2, "flags"), (24, "system identifier"), (32, "segment size"), (36, "block size")]
)
def test_the_long_header_is_compared(offset: int, what: str):
    content = make_segment(SEGMENT)
    content[offset] ^= 0x02
    assert not accepts(SEGMENT.name, bytes(content)), what


@given(st.binary(max_size=4096))
def test_noise_is_refused_and_never_a_crash(noise: bytes):
    assert not accepts(SEGMENT.name, noise)
    assert not accepts(SEGMENT.name, noise.ljust(MIB, b"\0"))


@pytest.mark.parametrize(
    ("content", "is_right"),
    [
        (b"1\t0/3000000\tno recovery target specified\n", True),
        (b"1\t0/3000000\treason\n\n2\t0/4000000\treason\n", True),
        (b"", False),
        (b"# nothing\n", False),
        (b"4\t0/3000000\treason\n", False),
        (b"\xff\xfe", False),
        (b"1\t0/3000000\tx\n" * 100_000, False),
    ],
)
def test_history_files(content: bytes, is_right: bool):
    assert accepts("00000003.history", content) is is_right


def test_backup_history_files():
    name = "00000003000000010000000A.00000028.backup"
    text = b"START WAL LOCATION: 1/A00028 (file 00000003000000010000000A)\nSTOP WAL LOCATION: 1/A00130 (file x)\n"
    assert accepts(name, text)
    assert not accepts(name.replace("0A.", "0B."), text)
    assert not accepts(name, b"")
    assert not accepts(name, text[5:])
