"""What the archive holds of each timeline, read from one listing into a few flat arrays.

A listing of 100,000 segments becomes three arrays of machine numbers and a handful of runs; nothing is kept per
segment that Python would have to count references of. Names alone are believed here: a push verified the bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment, require_segment_size
from holdfast.postgres.timeline import Timeline
from holdfast.wal.names import ArchivedFile, WalFileKind, piece_range
from holdfast.wal.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Rows = tuple[array[int], array[int], array[float]]
    """Numbers, stored bytes, and seconds since 1970 of segments, ascending by number."""

_COUNTED = frozenset({WalFileKind.SEGMENT, WalFileKind.PARTIAL, WalFileKind.PIECE})
_HEX = 16


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a segment: its first ``length_bytes`` bytes, spread over ``files`` in order."""

    length_bytes: int
    files: tuple[ArchivedFile, ...]

    @property
    def archived(self) -> datetime:
        """When the last of its files was stored."""
        return max(file.modified for file in self.files)

    @property
    def stored_bytes(self) -> int:
        """What its files occupy in the archive."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class TimelineHoldings:
    """The WAL of one timeline: whole segments as runs, and the segments of which only the beginning is there.

    ``_numbers``, ``_stored_sums`` (bytes up to and including each) and ``_archived`` (seconds since 1970) go together.
    """

    timeline: Timeline
    segment_size: int
    runs: Runs = field(default_factory=Runs)
    parts: Mapping[int, Part] = field(default_factory=dict)
    _numbers: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _stored_sums: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _archived: array[float] = field(default_factory=lambda: array("d"), repr=False)

    @property
    def count(self) -> int:
        """How many whole segments there are."""
        return len(self._numbers)

    @property
    def stored_bytes(self) -> int:
        """What all of it occupies in the archive."""
        return self.stored_between(0, self._numbers[-1] if self.count else 0) + sum(
            part.stored_bytes for part in self.parts.values()
        )

    @property
    def last(self) -> int | None:
        """The newest number of which anything is there."""
        return max([*self._numbers[-1:], *self.parts], default=None)

    @property
    def complete_runs(self) -> Runs:
        """The runs, with the segments among them of which the pieces are all there."""
        runs = self.runs
        for number, part in self.parts.items():
            if part.length_bytes == self.segment_size:
                runs = runs.joined(number, number)
        return runs

    @property
    def first(self) -> int | None:
        """The oldest number of which anything is there."""
        return min([*self._numbers[:1], *self.parts], default=None)

    def intervals(self) -> list[tuple[Lsn, Lsn]]:
        """Return the ranges of positions, [start, end), of which every byte is there from a segment's first one on."""
        runs = self.complete_runs
        found = {Lsn(first * self.segment_size): Lsn((last + 1) * self.segment_size) for first, last in runs}
        by_end = {end: start for start, end in found.items()}
        for number, part in sorted(self.parts.items()):
            start = self.segment(number).start
            if number not in runs:
                found[by_end.get(start, start)] = start + part.length_bytes
        return sorted(found.items())

    def segment(self, number: int) -> Segment:
        """Return the segment of a number."""
        return Segment(self.timeline, number, self.segment_size)

    def stored_between(self, first: int, last: int) -> int:
        """Return what the whole segments from ``first`` to ``last`` (both included) occupy in the archive, in bytes."""
        begin, end = bisect_left(self._numbers, first), bisect_right(self._numbers, last)
        before = self._stored_sums[begin - 1] if begin else 0
        return self._stored_sums[end - 1] - before if end > begin else 0

    def archived_at(self, number: int) -> datetime | None:
        """Return when a segment, or its beginning, was stored; None where nothing of it is there."""
        at = bisect_left(self._numbers, number)
        if at < self.count and self._numbers[at] == number:
            return datetime.fromtimestamp(self._archived[at], UTC)
        part = self.parts.get(number)
        return part.archived if part else None

    def first_after(self, number: int) -> int | None:
        """Return the next number above ``number`` of which anything is there."""
        at = bisect_right(self._numbers, number)
        return min([*self._numbers[at : at + 1], *(each for each in self.parts if each > number)], default=None)


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing of an archive, sorted into kinds. ``strangers`` are segments whose number no such cluster has."""

    segment_size: int
    rows: Mapping[Timeline, Rows]
    pieces: Mapping[Timeline, Mapping[int, Sequence[ArchivedFile]]]
    partials: Mapping[Timeline, Mapping[int, ArchivedFile]]
    histories: Mapping[Timeline, ArchivedFile]
    other_partials: tuple[ArchivedFile, ...]
    conflicts: tuple[ArchivedFile, ...]
    gap_records: tuple[ArchivedFile, ...]
    strangers: tuple[ArchivedFile, ...]

    @property
    def timelines(self) -> frozenset[Timeline]:
        """The timelines that have WAL or a history file here."""
        return frozenset((*self.rows, *self.pieces, *self.partials, *self.histories))

    def holdings(self, timeline: Timeline, switch_offsets: Mapping[int, int]) -> TimelineHoldings:
        """Return what there is of a timeline.

        ``switch_offsets``: how many bytes of a segment belong to this timeline, by number, where it was left in the
        middle of one: so far, and no further, a ``.partial`` of that segment counts.
        """
        numbers, sizes, times = self.rows.get(timeline) or _no_rows()
        runs = Runs.of(numbers)
        parts: dict[int, Part] = {}
        for number, files in self.pieces.get(timeline, {}).items():
            _keep_longer(parts, number, _beginning(files))
        for number, file in self.partials.get(timeline, {}).items():
            _keep_longer(parts, number, Part(switch_offsets.get(number, 0), (file,)))
        parts = {number: part for number, part in parts.items() if number not in runs}
        return TimelineHoldings(timeline, self.segment_size, runs, parts, numbers, array("q", accumulate(sizes)), times)


def read_listing(files: Iterable[ArchivedFile], segment_size: int) -> Listing:
    """Sort a listing into kinds; VerificationError when ``segment_size`` (bytes) is none."""
    sorter = _Sorter(require_segment_size(segment_size))
    for file in files:
        sorter.take(file)
    return sorter.listing()


class _Sorter:
    """Takes the files of a listing one by one."""

    def __init__(self, segment_size: int) -> None:
        self._segment_size = segment_size
        self._per_id = 2**32 // segment_size
        self._rows: dict[str, Rows] = {}
        self._pieces: dict[Timeline, dict[int, list[ArchivedFile]]] = {}
        self._partials: dict[Timeline, dict[int, ArchivedFile]] = {}
        self._others: dict[WalFileKind, list[ArchivedFile]] = {}
        self._strangers: list[ArchivedFile] = []

    def take(self, file: ArchivedFile) -> None:
        if file.kind in _COUNTED:
            self._take_wal(file)
        else:
            self._others.setdefault(file.kind, []).append(file)

    def _take_wal(self, file: ArchivedFile) -> None:
        low = int(file.name[16:24], _HEX)
        number = int(file.name[8:16], _HEX) * self._per_id + low
        if low >= self._per_id:
            self._strangers.append(file)
        elif file.kind is WalFileKind.SEGMENT:
            rows = self._rows.get(file.name[:8])
            if rows is None:
                rows = self._rows[file.name[:8]] = _no_rows()
            rows[0].append(number)
            rows[1].append(file.size_bytes)
            rows[2].append(file.modified.timestamp())
        elif file.kind is WalFileKind.PIECE:
            self._pieces.setdefault(file.timeline, {}).setdefault(number, []).append(file)
        else:
            self._partials.setdefault(file.timeline, {})[number] = file

    def listing(self) -> Listing:
        return Listing(
            segment_size=self._segment_size,
            rows={Timeline.parse_hex(digits): _ascending(rows) for digits, rows in self._rows.items()},
            pieces=self._pieces,
            partials=self._partials,
            histories={file.timeline: file for file in self._others.get(WalFileKind.HISTORY, ())},
            other_partials=tuple(self._others.get(WalFileKind.OTHER_PARTIAL, ())),
            conflicts=tuple(self._others.get(WalFileKind.CONFLICT, ())),
            gap_records=tuple(self._others.get(WalFileKind.GAP, ())),
            strangers=tuple(self._strangers),
        )


def _no_rows() -> Rows:
    return array("q"), array("q"), array("d")


def _ascending(rows: Rows) -> Rows:
    """Return rows in the order of their numbers, which is how storages list; another order is put right."""
    numbers, sizes, times = rows
    if all(numbers[at] < numbers[at + 1] for at in range(len(numbers) - 1)):
        return rows
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return (
        array("q", (numbers[at] for at in order)),
        array("q", (sizes[at] for at in order)),
        array("d", (times[at] for at in order)),
    )


def _beginning(files: Sequence[ArchivedFile]) -> Part:
    """Return how far pieces cover their segment from its first byte on, without a hole, and which of them it takes.

    Recovery opens a segment at its first page whatever it wants of it, so bytes behind a hole are of no use.
    """
    covered, at = 0, 0
    used: list[ArchivedFile] = []
    ranges = sorted((*piece_range(file.name), number) for number, file in enumerate(files))
    while at < len(ranges) and ranges[at][0] <= covered:
        longest = ranges[at]
        while at < len(ranges) and ranges[at][0] <= covered:
            longest = max(longest, ranges[at], key=lambda each: each[1])
            at += 1
        if longest[1] > covered:
            covered = longest[1]
            used.append(files[longest[2]])
    return Part(covered, tuple(used))


def _keep_longer(parts: dict[int, Part], number: int, part: Part) -> None:
    known = parts.get(number)
    if part.length_bytes and (known is None or part.length_bytes > known.length_bytes):
        parts[number] = part
