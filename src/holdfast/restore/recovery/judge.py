"""Whether a recovery reached its target: what the server says is compared with what was asked for (FAULTS 14, 15, 34).

At its target a server writes a line that names the record it halted at; that line, the position and the time of the
last transaction must all agree with the target. Where the WAL ended first, the target may have been reached all the
same: an idle server writes no transaction after the wanted instant, but other records of its WAL tell the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import TargetNotReachableError, VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.restore.target import ImmediateGoal, LatestGoal, LsnGoal, NameGoal, TimeGoal, XidGoal

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.select import Choice, Position
    from holdfast.restore.target import RecoveryTarget

_AT_LSN = re.compile(r'recovery stopping (before|after) WAL location \(LSN\) "([0-9A-F]+/[0-9A-F]+)"')
_AT_XID = re.compile(r"recovery stopping (before|after) (?:commit|abort) of (?:prepared )?transaction (\d+), time .*")
_AT_NAME = re.compile(r'recovery stopping at restore point "(.*)", time .*', re.DOTALL)
_AT_CONSISTENCY = "recovery stopping after reaching consistency"
_XID_BITS = 32


@dataclass(frozen=True, slots=True)
class Expected:
    """What a recovery was started for; ``position``: where its transaction or restore point lies in the WAL.

    ``latest_told``: the latest time (aware) that the WAL tells, where no transaction follows a wanted time.
    """

    target: RecoveryTarget
    choice: Choice
    position: Position | None = None
    latest_told: datetime | None = None


def require_reached(expected: Expected, reached: Reached) -> None:
    """Raise TargetNotReachableError unless the target was reached, VerificationError where something contradicts it."""
    if reached.stopped:
        _require_right_stop(expected, reached)
    else:
        _require_right_end(expected, reached)
    entries = {entry.timeline for entry in expected.choice.history.entries}
    if reached.timeline not in entries or not expected.choice.history.has_point(reached.timeline, reached.lsn):
        raise VerificationError(
            f"recovery ended on timeline {reached.timeline} at {reached.lsn}, which is not on the way to timeline "
            f"{expected.choice.history.timeline}"
        )


def _require_right_stop(expected: Expected, reached: Reached) -> None:
    """Raise VerificationError unless the server's line, the position and the time agree with the target."""
    target, position = expected.target, expected.position
    at_lsn = _AT_LSN.fullmatch(reached.stopped)
    at_xid = _AT_XID.fullmatch(reached.stopped)
    side = "after" if target.is_inclusive else "before"
    match target.goal:
        case LsnGoal(lsn):
            is_right = at_lsn is not None and at_lsn[1] == side and Lsn.parse(at_lsn[2]) >= lsn
        case XidGoal(xid):
            is_right = at_xid is not None and (at_xid[1], int(at_xid[2])) == (side, xid % 2**_XID_BITS)
        case TimeGoal():
            is_right = at_xid is not None and at_xid[1] == "before" and _is_in_time(target, reached)
        case NameGoal(name):
            at_name = _AT_NAME.fullmatch(reached.stopped)
            is_right = at_name is not None and at_name[1] == name
        case ImmediateGoal():
            is_right = reached.stopped == _AT_CONSISTENCY
        case LatestGoal():
            is_right = False
    if position is not None and not isinstance(target.goal, TimeGoal):
        is_right = is_right and (reached.lsn == position.end if target.is_inclusive else reached.lsn <= position.start)
    if not is_right:
        raise VerificationError(
            f"recovery halted elsewhere than at {target}: at {reached.lsn}, saying {reached.stopped!r}",
            hint="do not use what was restored; report this, with the WAL around that position",
        )


def _require_right_end(expected: Expected, reached: Reached) -> None:
    """Raise TargetNotReachableError unless all the WAL there is was enough."""
    target, choice = expected.target, expected.choice
    has_all = reached.lsn + choice.segment_size > choice.proof.end
    match target.goal:
        case LatestGoal():
            is_reached = has_all
        case TimeGoal(at):
            is_told = expected.latest_told is not None and expected.latest_told > at
            is_reached = has_all and is_told and _is_in_time(target, reached)
        case LsnGoal(lsn):
            is_reached = not target.is_inclusive and reached.lsn >= lsn
        case _:
            is_reached = False
    if not is_reached:
        raise TargetNotReachableError(
            f"recovery did not reach {target}: {how_far(reached)}",
            hint=f"choose a target up to there, or --to latest; WAL was there up to {choice.proof.end}",
        )


def how_far(reached: Reached) -> str:
    """Return in words how far a recovery came."""
    place = f"it came to {reached.lsn} on timeline {reached.timeline}"
    if reached.last_commit is None:
        return f"{place}, before the first transaction after the snapshot"
    return f"{place}, the last transaction ended {reached.last_commit:%Y-%m-%d %H:%M:%S.%f} UTC"


def _is_in_time(target: RecoveryTarget, reached: Reached) -> bool:
    assert isinstance(target.goal, TimeGoal)
    if reached.last_commit is None:
        return True
    return reached.last_commit <= target.goal.at if target.is_inclusive else reached.last_commit < target.goal.at
