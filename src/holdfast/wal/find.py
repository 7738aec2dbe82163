"""Find out from the WAL who committed when: the answers that a recovery target is made of.

Nothing here knows of snapshots. Where possible only a part of the WAL is read: ``wal.narrow`` finds it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walmarks import MarkKind, RestorePoint, marks
from holdfast.postgres.walxact import instant, microseconds_of, transaction_ends
from holdfast.progress import Silence
from holdfast.wal.narrow import CLOCK_SLACK_US, Narrowing
from holdfast.wal.scan import WalScan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from holdfast.postgres.segment import Segment
    from holdfast.postgres.walrecord import Records
    from holdfast.postgres.walxact import TransactionEnd, TransactionEnds
    from holdfast.progress import Reporter
    from holdfast.wal.scan import Hole
    from holdfast.wal.sources import SegmentSource

XID_MODULUS: Final = 2**32
"""WAL holds ids of 32 bits; ``pg_current_xact_id`` puts an epoch in front of them, which recovery ignores, too."""
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """What one stretch of WAL holds of an interval of time, in the order of the WAL."""

    ends: TransactionEnds
    restore_points: tuple[RestorePoint, ...]


@dataclass(frozen=True, slots=True)
class Minute:
    """How many transactions ended in the minute that begins at ``start`` (UTC)."""

    start: datetime
    commits: int
    aborts: int


class WalFinder:
    """Answers questions about the WAL of one history. Not for several threads.

    Every method raises DamageError, KeyRefusedError or StorageError when a segment cannot be had, and VerificationError
    when the WAL in it is damaged.
    """

    def __init__(self, source: SegmentSource, reporter: Reporter | None = None) -> None:
        self.segments: Sequence[Segment] = source.segments
        """What is looked at, in order."""
        self._history = source.history
        self._reporter = reporter or Silence()
        self._scan = WalScan(source, self._reporter)
        self._narrowing = Narrowing(self._scan, self.segments)

    @property
    def holes(self) -> Sequence[Hole]:
        """WAL that could not be looked at for the answers so far: what happened there is not known."""
        return self._scan.holes

    def find_xid(self, xid: int) -> TransactionEnd | None:
        """Return how a transaction ended; None when its end is not in the WAL: it ran on, or wrote nothing.

        A recovery target must name the ``xid`` of the answer: where a subtransaction was asked for that is the
        transaction which it was a part of.
        """
        short = xid % XID_MODULUS
        for ends in self._ends(self.segments[self._narrowing.of_xid(short)]):
            rows = ends.rows_of(short)
            if rows:
                return self._row(ends, rows[0])
        return None

    def find_restore_point(self, name: str) -> list[RestorePoint]:
        """Return the restore points of a name, in the order of the WAL; recovery stops at the first.

        Nothing tells where one lies, so all of the WAL is read.
        """
        total_bytes = sum(segment.size_bytes for segment in self.segments)
        self._reporter.phase(f"reading {len(self.segments)} WAL segments", total_bytes=total_bytes)
        stretches = self._scan.stretches(self.segments)
        return [point for records in stretches for point in self._restore_points(records) if point.name == name]

    def intervals(self, begin: datetime, end: datetime) -> Iterator[Interval]:
        """Yield the transactions that ended, and the restore points set, at ``begin`` or later and before ``end``.

        They come in the order of the WAL, by stretches of up to 16 MiB of it.
        """
        begin_us, end_us = microseconds_of(begin), microseconds_of(end)
        for records in self._scan.stretches(self.segments[self._narrowing.first_of_time(begin_us) :]):
            ends = transaction_ends(records)
            points = tuple(point for point in self._restore_points(records) if begin <= point.time < end)
            inside = ends.where((ends.times_us >= begin_us) & (ends.times_us < end_us))
            if len(inside) or points:
                yield Interval(inside, points)
            if len(ends) and ends.times_us.min() > end_us + CLOCK_SLACK_US:
                return

    def rows(self, ends: TransactionEnds) -> Iterator[TransactionEnd]:
        """Yield transactions one by one."""
        for number in range(len(ends)):
            yield self._row(ends, number)

    def first_commit_after(self, time: datetime) -> TransactionEnd | None:
        """Return the first commit, in the order of the WAL, with a later time; None when there is none."""
        time_us = microseconds_of(time)
        for ends in self._ends(self.segments[self._narrowing.first_of_time(time_us) :]):
            rows = np.flatnonzero(ends.are_commits & (ends.times_us > time_us))
            if len(rows):
                return self._row(ends, int(rows[0]))
        return None

    def latest_time(self) -> datetime | None:
        """Return the latest time that the end of the WAL tells: of commits, aborts, restore points and checkpoints."""
        for segment in reversed(self.segments):
            times = [time for records in self._scan.stretches([segment]) for time in _times(records)]
            if times:
                return max(times)
        return None

    def _ends(self, segments: Sequence[Segment]) -> Iterator[TransactionEnds]:
        return (transaction_ends(records) for records in self._scan.stretches(segments))

    def _row(self, ends: TransactionEnds, number: int) -> TransactionEnd:
        return ends.row(number, self._history.timeline_at(Lsn(int(ends.starts[number]))))

    def _restore_points(self, records: Records) -> Iterator[RestorePoint]:
        for mark in marks(records):
            if mark.kind is MarkKind.RESTORE_POINT and mark.name is not None and mark.time is not None:
                yield RestorePoint(mark.name, mark.time, mark.start, mark.end, self._history.timeline_at(mark.start))


def _times(records: Records) -> Iterator[datetime]:
    for mark in marks(records):
        if mark.time is not None:
            yield mark.time
    ends = transaction_ends(records)
    if len(ends):
        yield instant(int(ends.times_us.max()))


class MinuteCounts:
    """Counts transactions by the minute in which they ended, by the server's clock."""

    def __init__(self) -> None:
        self._commits: Counter[int] = Counter()
        self._aborts: Counter[int] = Counter()

    def add(self, ends: TransactionEnds) -> None:
        """Count some more."""
        for counter, rows in ((self._commits, ends.are_commits), (self._aborts, ~ends.are_commits)):
            minutes, counts = np.unique(ends.times_us[rows] // _MINUTE_US, return_counts=True)
            counter.update(dict(zip(minutes.tolist(), counts.tolist(), strict=True)))

    def minutes(self) -> list[Minute]:
        """Return the minutes in which anything ended, in order."""
        return [
            Minute(instant(minute * _MINUTE_US), self._commits[minute], self._aborts[minute])
            for minute in sorted({*self._commits, *self._aborts})
        ]
