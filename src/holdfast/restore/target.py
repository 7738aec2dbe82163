"""Recovery targets: where recovery is to end, on which timeline, and what happens then.

They are PostgreSQL's own (manual, section 20.5.6 "Recovery Target"); what it leaves open or decides silently (a target
that does not apply, a promotion where a pause was asked for) is decided or refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import TargetNotReachableError, UsageError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import MAX_TIMELINE, Timeline
from holdfast.restore.target_time import parse_time

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_MAX_NAME_BYTES = 63  # MAXFNAMELEN - 1, src/include/access/xlog_internal.h
_FORMS = "write a time, an LSN (0/16B3748), xid:N, name:X, latest or immediate"


class TargetAction(StrEnum):
    """What the cluster does when the target is reached (``recovery_target_action``)."""

    PROMOTE = "promote"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


class TimelineRule(Enum):
    """Which timeline to follow, where no number is given (``recovery_target_timeline``)."""

    LATEST = "latest"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class TimeGoal:
    """The last transaction that committed at or before an instant (aware, UTC), by the server's clock."""

    at: datetime

    def __str__(self) -> str:
        """Return the instant in UTC, with the fraction of a second where there is one."""
        return f"{self.at.replace(tzinfo=None).isoformat(sep=' ')} UTC"


@dataclass(frozen=True, slots=True)
class LsnGoal:
    """A position in the WAL."""

    lsn: Lsn

    def __str__(self) -> str:
        """Return it as the server writes it."""
        return f"LSN {self.lsn}"


@dataclass(frozen=True, slots=True)
class XidGoal:
    """A transaction, by its id; one with an epoch (``pg_current_xact_id``) is cut to 32 bits by PostgreSQL."""

    xid: int

    def __str__(self) -> str:
        """Return it with what it is."""
        return f"transaction {self.xid}"


@dataclass(frozen=True, slots=True)
class NameGoal:
    """A restore point, by its name (``pg_create_restore_point``)."""

    name: str

    def __str__(self) -> str:
        """Return it with what it is."""
        return f"restore point {self.name!r}"


@dataclass(frozen=True, slots=True)
class LatestGoal:
    """The end of the WAL that is there."""

    def __str__(self) -> str:
        """Return what it is."""
        return "the end of the WAL"


@dataclass(frozen=True, slots=True)
class ImmediateGoal:
    """The end of the snapshot: as soon as it is consistent."""

    def __str__(self) -> str:
        """Return what it is."""
        return "the end of the snapshot"


Goal = TimeGoal | LsnGoal | XidGoal | NameGoal | LatestGoal | ImmediateGoal


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """A goal, whether what lies exactly on it is included, the timeline to follow, and what happens then."""

    goal: Goal
    is_inclusive: bool = True
    timeline: Timeline | TimelineRule = TimelineRule.LATEST
    action: TargetAction = TargetAction.PROMOTE

    def __post_init__(self) -> None:
        """Raise UsageError where there is nothing to exclude: PostgreSQL would ignore it silently."""
        if not self.is_inclusive and not isinstance(self.goal, TimeGoal | LsnGoal | XidGoal):
            raise UsageError(
                f"--exclusive has no meaning for {self.goal}",
                hint="it goes with a time, an LSN or xid:N",
            )

    def __str__(self) -> str:
        """Return the goal, and whether recovery stops before it."""
        return str(self.goal) if self.is_inclusive else f"just before {self.goal}"


def parse_target(text: str, now: datetime, zone: tzinfo | None) -> RecoveryTarget:
    """Return the inclusive target that ``text`` means, on the latest timeline; ``dataclasses.replace`` refines it.

    ``now`` and ``zone`` as in ``parse_time``. UsageError for what cannot be understood, TargetNotReachableError for
    an instant in the future.
    """
    words = text.strip()
    kind, colon, rest = words.partition(":")
    if words.lower() == "latest":
        return RecoveryTarget(LatestGoal())
    if words.lower() == "immediate":
        return RecoveryTarget(ImmediateGoal())
    if _LSN.fullmatch(words):
        return RecoveryTarget(LsnGoal(Lsn.parse(words)))
    if colon and kind.lower() == "xid":
        return RecoveryTarget(_xid(rest))
    if colon and kind.lower() == "name":
        return RecoveryTarget(_name(rest))
    if not any(letter.isdigit() for letter in words) and words.lower() != "now":
        raise UsageError(f"not a recovery target: {text!r}", hint=f"{_FORMS}; a restore point is name:{words or 'X'}")
    at = parse_time(words, now, zone)
    if at > now:
        raise TargetNotReachableError(
            f"{TimeGoal(at)} lies in the future",
            hint=f"it is {clock.in_utc(now)} now; --to latest recovers all that there is",
        )
    return RecoveryTarget(TimeGoal(at))


def parse_timeline(text: str) -> Timeline | TimelineRule:
    """Return the timeline that ``--timeline`` means: ``latest``, ``current`` or a number, in decimal."""
    words = text.strip().lower()
    if words in {rule.value for rule in TimelineRule}:
        return TimelineRule(words)
    if re.fullmatch(r"[1-9][0-9]{0,9}", words) and int(words) <= MAX_TIMELINE:
        return Timeline(int(words))
    hint = "write latest, current or the timeline's number"
    if re.fullmatch(r"0[0-9a-f]{7}", words) and int(words, 16):
        hint = f"in decimal, as everywhere but in file names: --timeline {int(words, 16)}"
    raise UsageError(f"not a timeline: {text!r}", hint=hint)


def parse_action(text: str) -> TargetAction:
    """Return the action that ``--action`` means."""
    try:
        return TargetAction(text.strip().lower())
    except ValueError:
        raise UsageError(
            f"not an action: {text!r}", hint=f"one of {', '.join(action.value for action in TargetAction)}"
        ) from None


def _xid(text: str) -> XidGoal:
    # Below 3 are ids that no transaction has (FirstNormalTransactionId, src/include/access/transam.h).
    if not re.fullmatch(r"[0-9]{1,20}", text.strip()) or not 3 <= int(text) < 2**64 or int(text) % 2**32 < 3:
        raise UsageError(f"not a transaction id: {text!r}", hint="it is a number from 3 on, in decimal")
    return XidGoal(int(text))


def _name(text: str) -> NameGoal:
    name = text.strip()
    if not name or "\n" in name or len(name.encode()) > _MAX_NAME_BYTES:
        raise UsageError(
            f"not the name of a restore point: {text!r}",
            hint=f"it has 1 to {_MAX_NAME_BYTES} bytes: name:before-migration",
        )
    return NameGoal(name)
