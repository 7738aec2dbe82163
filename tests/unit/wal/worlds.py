"""Made-up archives: a tree of timelines with their histories, and some of the files that such servers would archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from holdfast.errors import NotFoundError
from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.segment import Segment
from holdfast.postgres.timeline import HistoryEntry, Timeline, TimelineHistory
from holdfast.wal.names import ArchivedFile, kind_of, piece_name
from holdfast.wal.reach import SnapshotPoint

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
QUARTERS = 4


def history_of(*entries: tuple[int, int | None]) -> TimelineHistory:
    """Return a history from (timeline, end) pairs; the last end is None."""
    begin = NO_LSN
    made = []
    for timeline, end in entries:
        made.append(HistoryEntry(Timeline(timeline), begin, None if end is None else Lsn(end)))
        begin = Lsn(end or 0)
    return TimelineHistory(tuple(made))


@dataclass
class Archive:
    """The files of an archive and its histories; files are stored a minute after one another."""

    segment_size: int = 1 << 20
    files: dict[str, ArchivedFile] = field(default_factory=dict)
    histories: dict[int, TimelineHistory] = field(default_factory=dict)

    def add(self, name: str, size_bytes: int = 100) -> None:
        stored = BEGAN + timedelta(minutes=len(self.files))
        self.files[name] = ArchivedFile(name, kind_of(name), size_bytes, stored)

    def name(self, timeline: int, number: int) -> str:
        return Segment(Timeline(timeline), number, self.segment_size).name

    def add_segments(self, timeline: int, *numbers: int) -> None:
        for number in numbers:
            self.add(self.name(timeline, number))

    def add_piece(self, timeline: int, number: int, begin: int, end: int) -> None:
        self.add(piece_name(self.name(timeline, number), begin, end))

    def add_history(self, history: TimelineHistory) -> None:
        self.histories[history.timeline] = history
        self.add(f"{history.timeline.hex}.history")

    def stored(self, name: str) -> datetime:
        return self.files[name].modified

    def at(self, number: float) -> Lsn:
        """Return the position of a segment's number, with a fraction."""
        return Lsn(int(number * self.segment_size))

    def point(self, timeline: int, start: float, stop: float, **options: object) -> SnapshotPoint:
        return SnapshotPoint(f"{timeline}@{stop}", Timeline(timeline), self.at(start), self.at(stop), **options)

    def list(self):
        return iter(sorted(self.files.values(), key=lambda file: file.name))

    def history(self, timeline: Timeline) -> TimelineHistory:
        try:
            return self.histories[timeline]
        except KeyError:
            raise NotFoundError(f"{timeline.hex}.history") from None


@dataclass
class World:
    """An archive, and what a slow and simple reader knows of it: bytes held of (timeline, number), in quarters."""

    archive: Archive
    held: dict[tuple[int, int], int]
    points: list[SnapshotPoint]
    past: dict[int, TimelineHistory]


@st.composite
def worlds(draw: st.DrawFn, *, most_segments: int = 12) -> World:
    """Draw a tree of at most five timelines with high numbers among them, files, pieces and snapshots."""
    size = 1 << draw(st.integers(20, 30))
    quarter = size // QUARTERS
    archive = Archive(size)
    numbers = sorted(draw(st.sets(st.integers(2, 2**32 - 1) | st.integers(2, 40), max_size=4)))
    past = {1: history_of((1, None))}
    for number in numbers:
        parent = past[draw(st.sampled_from(sorted(past)))]
        begin = parent.entries[-1].begin
        switch = draw(st.integers(max(begin // quarter, QUARTERS), most_segments * QUARTERS)) * quarter
        entries = [(each.timeline, each.end) for each in parent.entries[:-1]]
        past[number] = history_of(*entries, (parent.timeline, switch), (number, None))
        archive.add_history(past[number])
    held: dict[tuple[int, int], int] = {}
    for timeline, history in past.items():
        first = max(history.entries[-1].begin // size, 1)
        for number in range(first, most_segments + 1):
            match draw(st.sampled_from(["whole", "whole", "whole", "piece", "nothing"])):
                case "whole":
                    archive.add_segments(timeline, number)
                    held[timeline, number] = QUARTERS
                case "piece":
                    quarters = draw(st.integers(1, QUARTERS))
                    archive.add_piece(timeline, number, 0, quarters * quarter)
                    held[timeline, number] = quarters
    return World(archive, held, _points(draw, archive, past, most_segments), past)


def _points(draw: st.DrawFn, archive: Archive, past: dict[int, TimelineHistory], most: int) -> list[SnapshotPoint]:
    points = []
    for _ in range(draw(st.integers(0, 3))):
        timeline = draw(st.sampled_from(sorted(past)))
        first = max(past[timeline].entries[-1].begin * QUARTERS // archive.segment_size, QUARTERS)
        start = draw(st.integers(first, max(first, most * QUARTERS)))
        stop = start + draw(st.integers(1, 2 * QUARTERS))
        carries = draw(st.booleans())
        points.append(archive.point(timeline, start / QUARTERS, stop / QUARTERS, carries_last_segment=carries))
    return points
