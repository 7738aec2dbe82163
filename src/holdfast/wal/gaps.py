"""Holes in the archive: segments that must have existed, as what lies after them is there, and that are not.

Expected of a timeline is everything from its first archived segment (from its branch, where anything of its past is
there; from the snapshot, where one was taken on it) to its last one, or to where it was left for another timeline. So
two quiet losses show: an ``archive_command`` that did nothing for an hour, and the tail of an old timeline that was
never archived because ``pg_rewind`` or a lost disk took it. A snapshot of before archiving was set up expects nothing:
there the archive has no hole, it only begins later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment
    from holdfast.postgres.timeline import Timeline
    from holdfast.wal.holdings import TimelineHoldings
    from holdfast.wal.lineage import Branch, Lineage
    from holdfast.wal.reach import SnapshotPoint


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments that are missing, ``first`` to ``last``.

    ``seen``: when the first file after them was archived. ``splits``: a snapshot could recover past it, were it not
    there.
    """

    first: Segment
    last: Segment
    seen: datetime | None
    splits: bool

    @property
    def timeline(self) -> Timeline:
        """The timeline whose WAL is missing."""
        return self.first.timeline

    @property
    def start(self) -> Lsn:
        """The first position that is missing."""
        return self.first.start

    @property
    def end(self) -> Lsn:
        """The position just after what is missing."""
        return self.last.stop

    @property
    def segments(self) -> int:
        """How many segments are missing."""
        return self.last.number - self.first.number + 1


def find_gaps(
    lineage: Lineage, holdings: Mapping[Timeline, TimelineHoldings], points: Sequence[SnapshotPoint]
) -> list[Gap]:
    """Return all gaps, by timeline and position. ``points`` are the snapshots that can be restored."""
    branches: dict[Timeline, list[Branch]] = {}
    for branch in lineage.branches():
        branches.setdefault(branch.parent, []).append(branch)
    search = _Search(lineage, holdings, points)
    return [
        gap
        for timeline in sorted(lineage.histories)
        if timeline in holdings
        for gap in search.gaps_of(holdings[timeline], branches.get(timeline, []))
    ]


class _Search:
    def __init__(
        self, lineage: Lineage, holdings: Mapping[Timeline, TimelineHoldings], points: Sequence[SnapshotPoint]
    ) -> None:
        self._lineage, self._holdings, self._points = lineage, holdings, points
        firsts = (held.archived_at(held.first) for held in holdings.values() if held.first is not None)
        self._began = min((each for each in firsts if each is not None), default=None)
        self._expecting = [point for point in points if point.expects_archive or self._had_begun(point)]
        self._with_snapshot = {point.timeline for point in self._expecting}

    def _had_begun(self, point: SnapshotPoint) -> bool:
        """Whether anything was in the archive when a snapshot was taken, as a receiver needs no archive_mode."""
        return self._began is not None and point.stop_time is not None and self._began <= point.stop_time

    def gaps_of(self, held: TimelineHoldings, branches: Sequence[Branch]) -> Iterator[Gap]:
        first, last = self._first_expected(held), self._last_expected(held, branches)
        if first is None or last is None:
            return
        for begin, end in held.complete_runs.missing(first, last):
            yield Gap(held.segment(begin), held.segment(end), self._seen(held, end, branches), self._splits(held, end))

    def _first_expected(self, held: TimelineHoldings) -> int | None:
        size = held.segment_size
        candidates = [point.next_number(size) for point in self._expecting if point.timeline == held.timeline]
        if held.first is not None:
            candidates.append(held.first)
        entries = self._lineage.history(held.timeline).entries
        if any(self._is_alive(entry.timeline) for entry in entries[:-1]):
            candidates.append(entries[-1].begin // size)
        return min(candidates, default=None)

    def _last_expected(self, held: TimelineHoldings, branches: Sequence[Branch]) -> int | None:
        """Return the last segment that must be whole: a child's first segment holds the rest of its parent's last."""
        candidates = [branch.lsn // held.segment_size - 1 for branch in branches]
        if held.last is not None:
            candidates.append(held.last if held.last in held.complete_runs else held.last - 1)
        return max(candidates, default=None)

    def _is_alive(self, timeline: Timeline) -> bool:
        held = self._holdings.get(timeline)
        return timeline in self._with_snapshot or (held is not None and held.first is not None)

    def _seen(self, held: TimelineHoldings, last_missing: int, branches: Sequence[Branch]) -> datetime | None:
        following = held.first_after(last_missing)
        if following is not None:
            return held.archived_at(following)
        firsts = [
            child.archived_at(child.first)
            for branch in branches
            if (child := self._holdings.get(branch.child)) is not None and child.first is not None
        ]
        return min((each for each in firsts if each is not None), default=None)

    def _splits(self, held: TimelineHoldings, last: int) -> bool:
        """Tell whether a snapshot that can be restored would need a gap that ends with ``last``."""
        history = self._lineage.history(held.timeline)
        return any(
            point.next_number(held.segment_size) <= last
            for point in self._points
            if history.has_point(point.timeline, point.stop)
        )
