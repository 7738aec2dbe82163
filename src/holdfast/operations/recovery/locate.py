"""Where a target lies in the WAL: found before anything is restored, so that what cannot be reached is refused at once.

A transaction and a restore point lie at one record; a time lies before the first commit after it, or, where none
follows, before any record that tells a later time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import TargetNotReachableError, UsageError
from holdfast.postgres.walxact import EndKind
from holdfast.restore.select import Position
from holdfast.restore.target import NameGoal, TimeGoal, XidGoal
from holdfast.wal.find import WalFinder
from holdfast.wal.proof import explained
from holdfast.wal.sources import ArchiveSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.coverage import Coverage

_Found = TypeVar("_Found")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Located:
    """The target as recovery is to be told it, and where it lies; ``position`` None: its own LSN, or the end.

    ``latest_told``: the latest time that the WAL tells (aware), where only that shows that a wanted time was reached.
    """

    target: RecoveryTarget
    position: Position | None = None
    latest_told: datetime | None = None


class Locator:
    """Looks for targets in the WAL of an archive."""

    def __init__(self, archive: WalArchive, coverage: Coverage, reporter: Reporter) -> None:
        self._archive, self._coverage, self._reporter = archive, coverage, reporter

    def locate(self, target: RecoveryTarget, timelines: Sequence[Timeline]) -> Located:
        """Return where the target lies on the first of the timelines that has it.

        Raises TargetNotReachableError for one that is on none of them, UsageError for a name that was given twice.
        """
        match target.goal:
            case XidGoal(xid):
                return self._transaction(target, xid, timelines)
            case NameGoal(name):
                return self._restore_point(target, name, timelines)
            case TimeGoal(at):
                return self._instant(target, at, timelines)
            case _:
                return Located(target)

    def _transaction(self, target: RecoveryTarget, xid: int, timelines: Sequence[Timeline]) -> Located:
        timeline, found = self._first(timelines, lambda each: self._finder(each).find_xid(xid))
        if found is None:
            others = [each for each in self._others(timelines) if self._finder(each).find_xid(xid)]
            raise self._unknown(
                target, timelines, others, f"'holdfast wal find --service SERVICE --xid {xid}' shows what there is"
            )
        if found.kind is EndKind.ABORT:
            raise TargetNotReachableError(
                f"transaction {xid} never committed: it was rolled back at {found.start}, {TimeGoal(found.time)}",
                hint=f"it left nothing behind; to stop there, use --to {found.start}",
            )
        return Located(replace(target, goal=XidGoal(found.xid), timeline=timeline), Position(found.start, found.end))

    def _restore_point(self, target: RecoveryTarget, name: str, timelines: Sequence[Timeline]) -> Located:
        timeline, found = self._first(timelines, lambda each: self._finder(each).find_restore_point(name))
        if not found:
            others = [each for each in self._others(timelines) if self._finder(each).find_restore_point(name)]
            raise self._unknown(target, timelines, others, "pg_create_restore_point makes them; names count case")
        if len(found) > 1:
            raise UsageError(
                f"there are {len(found)} restore points {name!r}",
                hint="say which, by its LSN: --to LSN --exclusive stops just after it",
                details=tuple(f"{each.end}  {TimeGoal(each.time)}" for each in found),
            )
        return Located(replace(target, timeline=timeline), Position(found[0].start, found[0].end))

    def _instant(self, target: RecoveryTarget, at: datetime, timelines: Sequence[Timeline]) -> Located:
        """Return the position of the first commit after the instant, or none where only other records follow it."""
        after = at if target.is_inclusive else at - _MICROSECOND
        timeline, commit = self._first(timelines, lambda each: self._finder(each).first_commit_after(after))
        if commit is not None:
            return Located(replace(target, timeline=timeline), Position(commit.start, commit.end))
        latest = max(filter(None, (self._finder(each).latest_time() for each in timelines)), default=None)
        if latest is not None and latest > at:
            return Located(target, latest_told=latest)
        words = f"the last time that it tells is {TimeGoal(latest)}" if latest else "it is empty"
        error = TargetNotReachableError(f"the WAL of the archive does not reach {TimeGoal(at)}: {words}")
        error = explained(error, self._coverage.windows)
        if latest:
            error.hint = f"choose a time up to {TimeGoal(latest)}, or --to latest for all that there is"
        raise error

    def _first(
        self, timelines: Sequence[Timeline], look: Callable[[Timeline], _Found | None]
    ) -> tuple[Timeline, _Found | None]:
        """Return the first timeline on which something is found, with that; the last one, where nothing is."""
        for timeline in timelines:
            if found := look(timeline):
                return timeline, found
        return timelines[-1], None

    def _finder(self, timeline: Timeline) -> WalFinder:
        return WalFinder(self._source(timeline), self._reporter)

    def _source(self, timeline: Timeline) -> ArchiveSource:
        return ArchiveSource(self._archive, self._coverage.lineage.history(timeline), self._coverage.segment_size)

    def _others(self, timelines: Iterable[Timeline]) -> list[Timeline]:
        return sorted(set(self._coverage.lineage.histories) - set(timelines), reverse=True)

    def _unknown(
        self, target: RecoveryTarget, timelines: Sequence[Timeline], others: Sequence[Timeline], hint: str
    ) -> TargetNotReachableError:
        where = " or ".join(str(each) for each in timelines)
        error = TargetNotReachableError(f"there is no {target.goal} in the WAL that leads to timeline {where}")
        if others:
            error.hint = f"there is one on timeline {others[0]}: add --timeline {others[0]}"
            return error
        error = explained(error, self._coverage.windows)
        error.hint = f"{hint}; {error.hint}"
        return error
