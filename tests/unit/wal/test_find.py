"""Answers about WAL: right, from as little of it as they can come from, and honest about what was not there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.postgres.walwriting import (
    ABORT,
    COMMIT,
    COMMIT_PREPARED,
    HAS_INFO,
    XACT,
    WalWriter,
)
from tests.unit.wal.finding import DirectorySource, find_between

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import Timeline, first_history, parse_history
from holdfast.postgres.walxact import EPOCH, EndKind
from holdfast.progress import Silence
from holdfast.wal.find import MinuteCounts, WalFinder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECOND_US = 1_000_000


class Shelf:
    """Segments in memory; remembers which were read."""

    def __init__(self, writer: WalWriter, missing: set[int] = frozenset()) -> None:
        self.history = first_history()
        self.segments = [
            Segment(Timeline(1), number, writer.segment_size) for number in writer.segments if number not in missing
        ]
        self.read_numbers: list[int] = []
        self._writer = writer

    def read(self, segment: Segment) -> Iterator[bytes]:
        self.read_numbers.append(segment.number)
        yield self._writer.segment(segment.number)


class Phases(Silence):
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.done_bytes = 0

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        self.phases.append((name, total_bytes))

    def advance(self, done_bytes: int) -> None:
        self.done_bytes += done_bytes


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def long_wal(segments: int = 40, *, overlap: int = 4) -> WalWriter:
    """Return WAL of many segments: every transaction ends some segments after it began, one a minute, but for some."""
    writer = WalWriter()
    for number in range(segments):
        xid = 100 + 3 * number
        writer.running(max(xid - 3 * overlap, 100), xid)
        ended = xid - 3 * overlap
        if ended >= 100:
            writer.end_transaction(ended, number * 60 * SECOND_US, ABORT if number % 5 == 0 else COMMIT, (ended + 1,))
        writer.fill_segment()
    return writer


LONG = long_wal()


def test_a_transaction_is_found_by_reading_a_part_only():
    for xid in (100, 160, 205):
        shelf = Shelf(LONG)
        end = WalFinder(shelf).find_xid(xid)
        assert end is not None
        assert end.xid == xid
        assert len(set(shelf.read_numbers)) < len(shelf.segments) * 0.7


def test_an_epoch_in_front_of_an_xid_is_left_away():
    assert WalFinder(Shelf(LONG)).find_xid(7 * 2**32 + 160) == WalFinder(Shelf(LONG)).find_xid(160)


def test_a_subtransaction_leads_to_its_transaction():
    end = WalFinder(Shelf(LONG)).find_xid(161)
    assert (end.xid, end.subtransactions) == (160, (161,))


@pytest.mark.parametrize("xid", [3, 99, 102, 219, 220, 5000, 2**32 - 1])
def test_a_transaction_that_did_not_end_is_not_found(xid):
    assert WalFinder(Shelf(LONG)).find_xid(xid) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(17, 40), st.integers(0, 8), st.data())
def test_narrowing_misses_nothing(segments, overlap, data):
    writer = long_wal(segments, overlap=overlap)
    everything = list(find_between(WalFinder(Shelf(writer)), at(-1), at(10**6)))
    for end in data.draw(st.lists(st.sampled_from(everything), max_size=4)) if everything else []:
        assert WalFinder(Shelf(writer)).find_xid(end.xid) == end
        begin = end.time + timedelta(seconds=data.draw(st.integers(-600, 600)))
        expected = [each for each in everything if begin <= each.time < begin + timedelta(minutes=5)]
        assert list(find_between(WalFinder(Shelf(writer)), begin, begin + timedelta(minutes=5))) == expected


def test_ids_go_round():
    writer = WalWriter()
    for number in range(20):
        xid = (2**32 - 10 + number) % 2**32
        writer.running(xid, (xid + 1) % 2**32)
        if xid >= 3:
            writer.end_transaction(xid, number)
        writer.fill_segment()
    for xid in (2**32 - 10, 2**32 - 1, 3, 9):
        assert WalFinder(Shelf(writer)).find_xid(xid).xid == xid


def test_an_interval_is_read_only_about_its_time():
    shelf = Shelf(long_wal(80))
    found = list(find_between(WalFinder(shelf), at(70 * 60), at(72 * 60)))
    assert [end.time for end in found] == [at(70 * 60), at(71 * 60)]
    assert len(set(shelf.read_numbers)) < 40


def test_the_first_commit_after_a_time():
    finder = WalFinder(Shelf(LONG))
    commits = [end for end in find_between(finder, at(0), at(10**6)) if end.kind is EndKind.COMMIT]
    assert finder.first_commit_after(commits[2].time) == commits[3]
    assert finder.first_commit_after(commits[-1].time) is None


def test_looking_for_a_name_tells_how_much_there_is_to_read():
    reporter = Phases()
    shelf = Shelf(LONG)
    WalFinder(shelf, reporter).find_restore_point("nowhere")
    assert reporter.phases == [(f"reading {len(shelf.segments)} WAL segments", len(shelf.segments) * 2**20)]
    assert reporter.done_bytes == len(shelf.segments) * 2**20


def test_missing_segments_are_told():
    shelf = Shelf(LONG, missing={10, 11})
    finder = WalFinder(shelf)
    xids = {end.xid for end in find_between(finder, at(-1), at(10**6))}
    (hole,) = finder.holes
    assert hole.start is not None
    assert hole.start <= LONG.start_of(10) < LONG.start_of(12) <= hole.stop
    assert xids < {end.xid for end in find_between(WalFinder(Shelf(LONG)), at(-1), at(10**6))}
    list(find_between(finder, at(-1), at(10**6)))
    assert finder.holes == [hole]


def test_no_hole_is_told_where_there_is_none():
    finder = WalFinder(Shelf(LONG))
    list(find_between(finder, at(-1), at(10**6)))
    assert finder.holes == []


def test_restore_points_come_in_order_with_their_ends():
    writer = WalWriter()
    written = []
    for number in range(3):
        written.append(writer.restore_point("same", number))
        writer.restore_point("other", number)
        writer.fill_segment()
    found = WalFinder(Shelf(writer)).find_restore_point("same")
    assert [(point.start, point.end) for point in found] == [(each.start, each.end) for each in written]
    assert [point.time for point in found] == [EPOCH + timedelta(microseconds=number) for number in range(3)]


def test_a_prepared_transaction_has_its_own_id():
    writer = WalWriter()
    main = (5).to_bytes(8, "little") + (1 << 4).to_bytes(4, "little") + (77).to_bytes(4, "little")
    writer.record(XACT, COMMIT_PREPARED | HAS_INFO, 0, main)
    assert WalFinder(Shelf(writer)).find_xid(77).kind is EndKind.COMMIT


def test_minutes_are_counted():
    writer = WalWriter()
    for number in range(150):
        writer.end_transaction(10 + number, number * SECOND_US, ABORT if number % 10 == 0 else COMMIT)
    finder, counts = WalFinder(Shelf(writer)), MinuteCounts()
    for interval in finder.intervals(at(30), at(140)):
        counts.add(interval.ends)
    assert [(each.start, each.commits, each.aborts) for each in counts.minutes()] == [
        (at(0), 27, 3),
        (at(60), 54, 6),
        (at(120), 18, 2),
    ]


@pytest.fixture
def put(tmp_path) -> Callable[[str, bytes], None]:
    return lambda name, content: (tmp_path / name).write_bytes(content) and None


def test_a_directory_is_read_along_the_history(tmp_path, put):
    old = WalWriter()
    for xid in range(10, 40):
        old.end_transaction(xid, xid)
        old.fill(1, 50_000)
        if xid == 29:
            branch = old.records[-1].end
    new = WalWriter(timeline=1)
    new.content, new.records = old.content[: branch - old.origin], [r for r in old.records if r.start < branch]
    shared = new.segment(branch // new.segment_size)
    new.timeline = 2
    for xid in range(500, 540):
        new.end_transaction(xid, xid)
        new.fill(1, 50_000)
    for number in old.segments:
        put(Segment(Timeline(1), number, old.segment_size).name, old.segment(number))
    for number in new.segments:
        if number >= branch // new.segment_size:
            put(Segment(Timeline(2), number, new.segment_size).name, new.segment(number))
    put("000000030000000000000009", b"of a timeline that does not count")
    assert shared.strip(b"\0")
    history = parse_history(Timeline(2), f"1\t{Lsn(branch)}\tbecause\n")
    both, first = (WalFinder(DirectorySource(tmp_path, each)) for each in (history, first_history()))
    found = {end.xid: end.timeline for end in find_between(both, at(-1), at(1))}
    assert found == dict.fromkeys(range(10, 30), 1) | dict.fromkeys(range(500, 540), 2)
    assert {end.xid for end in find_between(first, at(-1), at(1))} == set(range(10, 40))
    assert both.holes == first.holes == []


def test_files_that_wait_to_be_used_again_are_not_taken_for_wal(tmp_path, put):
    writer = WalWriter()
    for xid in range(10, 40):
        writer.end_transaction(xid, xid)
        writer.fill(1, 50_000)
    numbers = list(writer.segments)
    for number in numbers:
        put(Segment(Timeline(1), number, writer.segment_size).name, writer.segment(number))
    for later in range(1, 4):
        put(Segment(Timeline(1), numbers[-1] + later, writer.segment_size).name, writer.segment(numbers[0]))
    put(Segment(Timeline(1), numbers[-1] + 4, writer.segment_size).name, bytes(writer.segment_size))
    finder = WalFinder(DirectorySource(tmp_path, first_history()))
    assert [end.xid for end in find_between(finder, at(-1), at(1))] == list(range(10, 40))
    assert finder.holes == []


def test_no_wal_answers_nothing():
    finder = WalFinder(Shelf(WalWriter()))
    assert (finder.find_xid(5), finder.find_restore_point("x")) == (None, [])
