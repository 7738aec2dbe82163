"""What the archive holds of one timeline, in a few flat arrays.

Of 100,000 segments there are three arrays of machine numbers and a handful of runs; nothing is kept per segment that
Python would have to count references of.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment, segment_end
from holdfast.wal.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.postgres.timeline import Timeline
    from holdfast.wal.names import ArchivedFile


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
        found = {Lsn(first * self.segment_size): segment_end(last, self.segment_size) for first, last in runs}
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
