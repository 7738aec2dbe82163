"""Windows of recoverability: from which state to which any instant comes back, on which timeline.

A window belongs to the timeline that recovery ends on, and runs along its history: it may begin, with a snapshot, on
an ancestor. A gap ends a window; the next one begins with the next snapshot after the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.wal.reach import Path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline
    from holdfast.wal.holdings import TimelineHoldings
    from holdfast.wal.lineage import Lineage
    from holdfast.wal.reach import SnapshotPoint


@dataclass(frozen=True, slots=True)
class Window:
    """Every state from ``start`` to ``end`` (bytes before it are there) can be reached on ``timeline``.

    ``start`` is a snapshot's stop, on ``start_timeline``, and ``start_time`` the server's time then. ``end_time`` is
    when the last of the WAL was archived: nothing in it is younger. ``snapshots``: their ids, oldest first.
    """

    timeline: Timeline
    start_timeline: Timeline
    start: Lsn
    end: Lsn
    start_time: datetime | None
    end_time: datetime | None
    snapshots: tuple[str, ...]

    def holds(self, lsn: Lsn) -> bool:
        """Whether recovery on this timeline can stop at a position."""
        return self.start <= lsn < self.end or lsn == self.start


def find_windows(
    lineage: Lineage, holdings: Mapping[Timeline, TimelineHoldings], points: Sequence[SnapshotPoint], size: int
) -> list[Window]:
    """Return all windows, by timeline and position; ``points`` are the snapshots that can be restored."""
    found: list[Window] = []
    ordered = sorted(points, key=lambda point: (point.stop, point.id))
    for _, history in sorted(lineage.histories.items()):
        path = Path(history, holdings, size)
        found += _joined(_windows_on(path, [p for p in ordered if history.has_point(p.timeline, p.stop)]))
    return found


def _windows_on(path: Path, points: Sequence[SnapshotPoint]) -> Iterator[Window]:
    """Yield the window of each snapshot that gets onto the path's own timeline."""
    own = path.history.entries[-1]
    for point in points:
        end, end_time = path.end_from(point)
        if point.timeline == own.timeline or end > own.begin:
            yield Window(
                own.timeline,
                point.timeline,
                point.stop,
                end,
                point.stop_time,
                end_time or point.stop_time,
                (point.id,),
            )


def _joined(windows: Iterator[Window]) -> list[Window]:
    """Join windows of one timeline, in the order of their starts, where one begins within the one before."""
    joined: list[Window] = []
    for window in windows:
        if joined and window.start <= joined[-1].end:
            longer = max(joined[-1], window, key=lambda each: each.end)
            joined[-1] = replace(
                joined[-1],
                end=longer.end,
                end_time=longer.end_time,
                snapshots=joined[-1].snapshots + window.snapshots,
            )
        else:
            joined.append(window)
    return joined
