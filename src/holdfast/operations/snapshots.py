"""List snapshots, and find one by what a user types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.snapshot import LATEST

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot, SnapshotSurvey


@dataclass(frozen=True)
class SnapshotFilter:
    """What to list; empty fields do not restrict. Times are ISO 8601, local where they name no zone."""

    service: str = ""
    host: str = ""
    tags: frozenset[str] = frozenset()
    since: str = ""
    until: str = ""

    def matches(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is wanted."""
        started = datetime.fromisoformat(snapshot.started)
        return (
            self.service in {"", snapshot.service}
            and self.host in {"", snapshot.host}
            and self.tags.issubset(snapshot.tags)
            and (not self.since or started >= parse_time(self.since))
            and (not self.until or started <= parse_time(self.until))
        )


def list_snapshots(stack: Stack, asked: str | None, wanted: SnapshotFilter) -> SnapshotSurvey:
    """Return the wanted snapshots of a repository, oldest first, and the damage of those that do not open."""
    survey = open_stack_repository(stack, asked).survey_snapshots()
    return replace(survey, snapshots=tuple(each for each in survey.snapshots if wanted.matches(each)))


@dataclass(frozen=True)
class SnapshotFinder:
    """Finds what a user's word for a snapshot means, by one rule for all commands.

    An id means the one snapshot of the repository whose id begins so; "latest" the newest of one service of this
    stack. ``service`` restricts both to that service of the stack; empty, "latest" needs only one to have snapshots.
    """

    survey: SnapshotSurvey
    stack: str
    service: str = ""

    def find(self, wanted: str) -> Snapshot:
        """Return the snapshot that is meant.

        Raises UsageError, which names near ids, or all that fit; DamageError when what is damaged might be meant.
        """
        if self.service:
            return self.survey.of(self.stack, self.service).choose(wanted)
        if wanted != LATEST or not self.survey.snapshots:
            return self.survey.choose(wanted)
        return self.survey.of(self.stack, self._only_service()).choose(wanted)

    def before(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot before another one of the same service.

        Raises UsageError when that is the first; DamageError when what is damaged might be meant.
        """
        own = self.survey.of(snapshot.stack, snapshot.service)
        own.require_sound()
        number = own.snapshots.index(snapshot)
        if number == 0:
            raise UsageError(
                f"no snapshot of {snapshot.stack}/{snapshot.service} is older than {snapshot.short_id}",
                hint="name two snapshots: 'holdfast snapshots' lists what there is",
            )
        return own.snapshots[number - 1]

    def _only_service(self) -> str:
        """Return the service of the stack that has snapshots; UsageError for none or several."""
        names = sorted({each.service for each in self.survey.snapshots if each.stack == self.stack})
        if not names:
            others = ", ".join(sorted({f"{each.stack}/{each.service}" for each in self.survey.snapshots}))
            raise UsageError(
                f"there is no snapshot of the stack {self.stack}",
                hint=f"there are those of {others}: name one by its id ('holdfast snapshots' lists them)",
            )
        if len(names) > 1:
            raise UsageError(
                f"'{LATEST}' is ambiguous: there are snapshots of {', '.join(names)}",
                hint=f"say which: --service {' | --service '.join(names)}",
            )
        return names[0]


def show_snapshot(stack: Stack, asked: str | None, wanted: str, service: str) -> Snapshot:
    """Return one snapshot of a repository, found as SnapshotFinder does."""
    return find_snapshot(open_stack_repository(stack, asked), stack, wanted, service)


def find_snapshot(repository: Repository, stack: Stack, wanted: str, service: str) -> Snapshot:
    """Return the snapshot that a user means, as SnapshotFinder does."""
    return SnapshotFinder(repository.survey_snapshots(), stack.stack, service).find(wanted)


def parse_time(text: str) -> datetime:
    """Return an aware instant; UsageError when it is none."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the last hours of the year 9999 lie beyond it elsewhere
        raise UsageError(f"not a time: {text!r}", hint="write it like 2026-11-20T14:03 or 2026-11-20") from None
