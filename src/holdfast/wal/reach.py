"""How far recovery gets: a walk along one history through the segments that are there.

Of a segment in which timelines change, PostgreSQL reads the file of the newest timeline of the target's history that
begins in or before it (``XLogFileReadAnyTLI`` in ``src/backend/access/transam/xlogrecovery.c``): that file begins with
a copy of its ancestors' bytes. A file of the same number on a timeline outside the history is another past.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import segment_end
from holdfast.wal.holdings import TimelineHoldings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.wal.runs import Runs


@dataclass(frozen=True, slots=True)
class SnapshotPoint:
    """What coverage needs of a snapshot: where recovery from it begins and from where on its state is consistent.

    The snapshot carries the WAL from ``start`` to ``stop`` (excluded). ``carries_last_segment``: and the rest of that
    last segment, which a primary fills up at the end of a backup and a standby cannot. ``stop_time`` is the server's.
    ``expects_archive``: the server archived its WAL then, or said so.
    """

    id: str
    timeline: Timeline
    start: Lsn
    stop: Lsn
    stop_time: datetime | None = None
    carries_last_segment: bool = True
    expects_archive: bool = True

    def carried(self, segment_size: int) -> range:
        """Return the numbers of the segments that the snapshot itself carries whole."""
        first = self.start // segment_size
        last = max(self.stop - 1, self.start) // segment_size
        return range(first, last + 1 if self.carries_last_segment else last)

    def next_number(self, segment_size: int) -> int:
        """Return the number of the first segment that recovery needs from the archive."""
        return self.carried(segment_size).stop


@dataclass(frozen=True, slots=True)
class Step:
    """The segments from ``first`` to ``last`` (both included) of one timeline, or with ``end`` the beginning of one.

    ``end`` is the position up to which the bytes of segment ``first`` count.
    """

    timeline: Timeline
    first: int
    last: int
    end: Lsn | None = None


class Path:
    """One history, ready to be walked again and again."""

    def __init__(self, history: TimelineHistory, holdings: Mapping[Timeline, TimelineHoldings], size: int) -> None:
        """Use the holdings of the history's timelines; ``size`` is that of a segment, in bytes."""
        self.history = history
        self._holdings = holdings
        self.segment_size = size
        self._entries = history.entries
        self._held = [holdings.get(entry.timeline) or TimelineHoldings(entry.timeline, size) for entry in self._entries]
        self._begins = [entry.begin // size for entry in self._entries]

    def end_from(self, point: SnapshotPoint) -> tuple[Lsn, datetime | None]:
        """Return the position up to which WAL is there without a hole, from a snapshot on, and when that was archived.

        The time is None where the archive has nothing after the snapshot's own WAL.
        """
        end, archived = point.stop, None
        for step in self.steps(point):
            if self.end_of(step) > end:
                end, archived = self.end_of(step), self._archived(step)
        return end, archived

    def steps(self, point: SnapshotPoint) -> Iterator[Step]:
        """Yield what follows one another without a hole, from the segment of the snapshot's stop on."""
        number = point.stop // self.segment_size
        while step := self._run_from(number, point) or self._longest_part(number, point):
            yield step
            number = step.last + 1
            if self.end_of(step) < number * self.segment_size:
                break

    def end_of(self, step: Step) -> Lsn:
        """Return the position just after a step."""
        return step.end if step.end is not None else segment_end(step.last, self.segment_size)

    def _run_from(self, number: int, point: SnapshotPoint) -> Step | None:
        """Return the whole segments that recovery reads from a number on, as far as they are of one timeline."""
        at = self._owner(number)
        end = self._runs(at, point).end_of_run(number)
        return None if end is None else Step(self._entries[at].timeline, number, min(end, self._last_owned(at)))

    def _archived(self, step: Step) -> datetime | None:
        return self._holdings[step.timeline].archived_at(step.last) if step.timeline in self._holdings else None

    def _owner(self, number: int) -> int:
        """Return which entry's file recovery reads for a segment."""
        return max(bisect_right(self._begins, number) - 1, 0)

    def _last_owned(self, at: int) -> int:
        later = self._begins[at + 1 : at + 2]
        return later[0] - 1 if later else 2**64

    def _runs(self, at: int, point: SnapshotPoint) -> Runs:
        carried = point.carried(self.segment_size)
        runs = self._held[at].runs
        if self._entries[at].timeline != point.timeline or not carried:
            return runs
        return runs.joined(carried.start, carried.stop - 1)

    def _longest_part(self, number: int, point: SnapshotPoint) -> Step | None:
        """Return the file that holds most of a segment which is not whole where it should be, if any holds some.

        Besides pieces and partial segments, these are whole segments of an ancestor: good to where it was left.
        """
        best: Step | None = None
        for at in range(self._owner(number), -1, -1):
            entry = self._entries[at]
            if entry.end is not None and entry.end <= number * self.segment_size:
                break
            length = self.segment_size if number in self._runs(at, point) else self._part_length(at, number)
            end = min(number * self.segment_size + length, entry.end if entry.end is not None else 2**64 - 1)
            if length and (best is None or best.end is None or end > best.end):
                best = Step(entry.timeline, number, number, Lsn(end))
        return best

    def _part_length(self, at: int, number: int) -> int:
        part = self._held[at].parts.get(number)
        return part.length_bytes if part else 0
