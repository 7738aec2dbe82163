"""Which snapshot a recovery begins from: the newest complete one that ends before the target, on the target's history.

Order is by position and history alone (FAULTS 12). A time is compared with the time at which the server itself said
that the backup had stopped, as the server's clock is the one that stamps the commits; what recovery reached is
compared with the target afterwards in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import TargetNotReachableError
from holdfast.postgres.timeline import Timeline
from holdfast.restore.target import ImmediateGoal, LsnGoal, TimeGoal, TimelineRule
from holdfast.wal.proof import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import HistoryEntry, TimelineHistory
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.proof import Proof
    from holdfast.wal.reach import SnapshotPoint


@dataclass(frozen=True, slots=True)
class Position:
    """Where a goal lies in the WAL: its record begins at ``start``, and recovery stands at ``end`` after it."""

    start: Lsn
    end: Lsn


@dataclass(frozen=True, slots=True)
class Choice:
    """The snapshot, the history that recovery follows (its last entry: the target timeline), and the proof.

    ``segment_size`` in bytes.
    """

    point: SnapshotPoint
    history: TimelineHistory
    proof: Proof
    segment_size: int

    def way(self) -> list[HistoryEntry]:
        """Return the part of the history that recovery goes through, from the snapshot's timeline on."""
        entries = self.history.entries
        return [entry for entry in entries if entry.end is None or entry.end > self.point.stop or entry == entries[-1]]


def target_timelines(coverage: Coverage, target: RecoveryTarget, points: Iterable[SnapshotPoint]) -> list[Timeline]:
    """Return the timelines that the target may lie on, the preferred one first.

    That is one, but for ``current``: there each snapshot stays on its own. The end of a snapshot is on its own timeline
    whatever came later. TargetNotReachableError for a timeline that nothing is known of, or whose past is not known.
    """
    own = sorted({point.timeline for point in points}, reverse=True)
    if target.timeline is TimelineRule.CURRENT or (
        isinstance(target.goal, ImmediateGoal) and target.timeline is TimelineRule.LATEST
    ):
        return own
    known = coverage.lineage.histories
    if target.timeline is TimelineRule.LATEST:
        return [coverage.latest] if coverage.latest is not None else own
    assert isinstance(target.timeline, Timeline)
    if target.timeline not in known:
        numbers = ", ".join(str(each) for each in sorted(known)) or "none"
        raise TargetNotReachableError(
            f"there is no timeline {target.timeline} in the archive", hint=f"there are: {numbers}"
        )
    if target.timeline in coverage.missing_histories and target.timeline not in own:
        raise TargetNotReachableError(
            f"the archive lacks the history of timeline {target.timeline}, so nothing leads there",
            hint=f"push {target.timeline.hex}.history from the pg_wal of the server that made it",
        )
    return [target.timeline]


def choose(
    coverage: Coverage, target: RecoveryTarget, position: Position | None, points: Sequence[SnapshotPoint]
) -> Choice:
    """Return the newest of ``points`` from which the target can be reached, with the proof that the WAL is there.

    ``points`` are in the order in which they were made.
    ``position`` is where a transaction or a restore point was found, None for other goals. Raises
    TargetNotReachableError, with the usable windows.
    """
    timelines = target_timelines(coverage, target, points)
    stays = len(timelines) > 1 or target.timeline is TimelineRule.CURRENT
    ways = [
        (point, coverage.lineage.history(timeline))
        for timeline in timelines
        for point in points
        if (point.timeline == timeline if stays else coverage.lineage.history(timeline).has_point(*_end(point)))
    ]
    if not ways:
        raise _no_way(coverage, timelines, points)
    before = [(point, history) for point, history in ways if _ends_before(point, target, position)]
    if not before:
        raise _too_early(coverage, target, [point for point, _ in ways])
    # Positions on timelines apart from one another have no order: there, the snapshot that was made last.
    order = points.index if stays else (lambda point: point.stop)
    point, history = max(before, key=lambda way: order(way[0]))
    try:
        proof = coverage.prove(point, _proven(target, position, point), history.timeline)
    except TargetNotReachableError as error:  # it speaks of a position, and perhaps a time was asked for
        message = f"{target} is not reachable: {error.message}"
        raise TargetNotReachableError(message, hint=error.hint, details=error.details) from None
    return Choice(point, history, proof, coverage.segment_size)


def _end(point: SnapshotPoint) -> tuple[Timeline, Lsn]:
    return point.timeline, point.stop


def _ends_before(point: SnapshotPoint, target: RecoveryTarget, position: Position | None) -> bool:
    """Whether a snapshot is consistent before the target (FAULTS 13)."""
    match target.goal:
        case TimeGoal(at):
            is_in_time = point.stop_time is not None and point.stop_time <= at
            return is_in_time and (position is None or point.stop <= position.start)
        case LsnGoal(lsn):
            return point.stop <= lsn
        case _:
            return position is None or point.stop <= position.start


def _proven(target: RecoveryTarget, position: Position | None, point: SnapshotPoint) -> Lsn | None:
    """Return the position whose byte must be there, None for as far as there is WAL."""
    match target.goal:
        case LsnGoal(lsn):
            return lsn if target.is_inclusive else _before(lsn, point)
        case ImmediateGoal():
            return point.stop
        case _ if position is not None:
            return _before(position.end, point)  # also to stop before a record, it must be read
        case _:
            return None


def _before(lsn: Lsn, point: SnapshotPoint) -> Lsn:
    """Return the last byte before a position, but none before the end of the snapshot, which it carries itself."""
    return max(lsn + -1, point.stop)


def _no_way(
    coverage: Coverage, timelines: Sequence[Timeline], points: Sequence[SnapshotPoint]
) -> TargetNotReachableError:
    where = " or ".join(str(each) for each in timelines) or "1"
    own = sorted({point.timeline for point in points})
    message = f"no snapshot lies in the past of timeline {where}"
    if not own:
        return TargetNotReachableError(message, hint="there is no complete snapshot: run 'holdfast backup' first")
    error = explained(TargetNotReachableError(message), coverage.windows)
    error.hint = f"{error.hint}; --timeline {own[-1]} follows that of the newest snapshot"
    return error


def _too_early(coverage: Coverage, target: RecoveryTarget, points: Sequence[SnapshotPoint]) -> TargetNotReachableError:
    first = min(points, key=lambda point: point.stop)
    when = f" ({clock.in_utc(first.stop_time)})" if first.stop_time else ""
    message = f"{target} lies before the end of the oldest snapshot that leads there, at {first.stop}{when}"
    return explained(TargetNotReachableError(message), coverage.windows)
