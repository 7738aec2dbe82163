"""The questions of ``holdfast wal find``: each reads the WAL first, and returns how its answer is to be shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from holdfast.cli import text
from holdfast.cli.wal import found
from holdfast.errors import TargetNotReachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from holdfast.cli.invocation import Invocation
    from holdfast.postgres.walmarks import RestorePoint
    from holdfast.postgres.walxact import TransactionEnd
    from holdfast.wal.find import Interval, Minute, WalFinder

_ROWS_SHOWN = 50


Show: TypeAlias = "Callable[[Invocation, str], None]"


@dataclass(frozen=True, slots=True)
class AboutTransaction:
    """How did a transaction end?"""

    xid: int

    def reaches_beyond(self, finder: WalFinder) -> bool:
        """Return that it does not: an end that is found is the only one."""
        return False

    def ask(self, finder: WalFinder) -> Show:
        """Find its end; TargetNotReachableError when it is not in the WAL."""
        end = finder.find_xid(self.xid)
        if end is None:
            raise TargetNotReachableError(
                f"the end of transaction {self.xid} is not in the WAL ({_extent(finder)})",
                hint="it was never committed, or not yet, or it wrote nothing; --between shows what there is",
                details=_unknown(finder),
            )
        return lambda run, restore: self._show(run, restore, end)

    def _show(self, run: Invocation, restore: str, end: TransactionEnd) -> None:
        _show_transactions(run, iter([end]))
        if self.xid % 2**32 != end.xid:
            run.output.say(f"{self.xid} was a subtransaction of {end.xid}: name that one as the target")
        if end.kind == "abort":
            run.output.say("it was rolled back: nothing of it is in the database")
            run.output.say(f"up to there:  {restore} --to {end.start}")
            return
        run.output.say(f"up to it and with it:  {restore} --to xid:{end.xid}")
        run.output.say(f"to just before it:     {restore} --to xid:{end.xid} --exclusive")


@dataclass(frozen=True, slots=True)
class AboutRestorePoint:
    """Where are the restore points of a name? ``within``: in no other WAL, which is all that is read then."""

    name: str
    within: AboutInterval | None = None

    def reaches_beyond(self, finder: WalFinder) -> bool:
        """Return whether the interval does; without one, what is found is enough."""
        return self.within is not None and self.within.reaches_beyond(finder)

    def ask(self, finder: WalFinder) -> Show:
        """Find them; TargetNotReachableError when there is none."""
        points = finder.find_restore_point(self.name) if self.within is None else self._find(finder, self.within)
        if not points:
            raise TargetNotReachableError(
                f"there is no restore point {self.name!r} in the WAL ({_extent(finder)})",
                hint="its name is that given to pg_create_restore_point, to the letter",
                details=_unknown(finder),
            )
        return lambda run, restore: self._show(run, restore, points)

    def _find(self, finder: WalFinder, within: AboutInterval) -> list[RestorePoint]:
        intervals = finder.intervals(within.begin, within.end)
        return [point for each in intervals for point in each.restore_points if point.name == self.name]

    def _show(self, run: Invocation, restore: str, points: list[RestorePoint]) -> None:
        _show_restore_points(run, points)
        if len(points) == 1:
            run.output.say(f"to recover to it:  {restore} --to name:{self.name}")
        else:
            run.output.say(f"the name does not tell which one; by where it ends:  {restore} --to LSN --exclusive")


@dataclass(frozen=True, slots=True)
class AboutInterval:
    """What ended between two instants?"""

    begin: datetime
    end: datetime

    @staticmethod
    def of(begin: datetime, end: datetime) -> AboutInterval:
        """Return the question; UsageError when the interval is empty."""
        if begin >= end:
            raise UsageError(
                f"nothing lies between {text.instant(begin)} and {text.instant(end)}",
                hint="the earlier time comes first",
            )
        return AboutInterval(begin, end)

    def reaches_beyond(self, finder: WalFinder) -> bool:
        """Return whether there may be later WAL of the interval than there is."""
        latest = finder.latest_time()
        return latest is None or latest < self.end

    def ask(self, finder: WalFinder) -> Show:
        """Find it all."""
        intervals = list(finder.intervals(self.begin, self.end))
        return lambda run, restore: self._show(run, restore, finder, intervals)

    def _show(self, run: Invocation, restore: str, finder: WalFinder, intervals: list[Interval]) -> None:
        counts = _counted(intervals)
        ended = sum(minute.commits + minute.aborts for minute in counts)
        run.output.say(f"from {text.instant(self.begin)} to {text.instant(self.end)}: {_summary(counts)}")
        _show_transactions(run, (row for each in intervals for row in finder.rows(each.ends)))
        if ended > _ROWS_SHOWN:
            run.output.say(f"these are the first {_ROWS_SHOWN}; a shorter interval, or --json, shows the others")
        _show_restore_points(run, [point for each in intervals for point in each.restore_points])
        _show_minutes(run, counts)
        if ended:
            run.output.say(f"to just before one of them:  {restore} --to xid:N --exclusive")


def _counted(intervals: list[Interval]) -> list[Minute]:
    from holdfast.wal.find import MinuteCounts

    counts = MinuteCounts()
    for each in intervals:
        counts.add(each.ends)
    return counts.minutes()


def _summary(minutes: list[Minute]) -> str:
    commits = sum(minute.commits for minute in minutes)
    aborts = sum(minute.aborts for minute in minutes)
    return f"{text.count(commits, 'commit')}, {text.count(aborts, 'abort')}"


def _extent(finder: WalFinder) -> str:
    first, last = finder.segments[0], finder.segments[-1]
    return f"{first.start} to {last.stop}, timeline {last.timeline}"


def _unknown(finder: WalFinder) -> tuple[str, ...]:
    """Return what an answer that found nothing does not know."""
    return tuple(found.hole_words(hole) for hole in finder.holes)


def _show_transactions(run: Invocation, ends: Iterator[TransactionEnd]) -> None:
    shown = ends if run.json else list(islice(ends, _ROWS_SHOWN))
    if shown:
        run.output.table("transaction_end", shown, found.transaction_columns(), found.transaction_message)


def _show_restore_points(run: Invocation, points: list[RestorePoint]) -> None:
    if points:
        run.output.table("restore_point", points, found.restore_point_columns(), found.restore_point_message)


def _show_minutes(run: Invocation, minutes: list[Minute]) -> None:
    if minutes:
        run.output.table("transaction_minute", minutes, found.minute_columns(), asdict)
