"""List snapshots, and find one by what a user types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.wiring import open_stack_repository

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


def find_snapshot(repository: Repository, wanted: str, service: str = "") -> Snapshot:
    """Return the snapshot that a user means: by the first digits of its id, or "latest", of one service if named.

    Raises UsageError, which names near ids, or all that fit; DamageError when what is damaged might be meant.
    """
    survey = repository.survey_snapshots()
    own = tuple(each for each in survey.snapshots if service in {"", each.service})
    absence = _absence(survey, service) if survey.snapshots else survey.absence
    return replace(survey, snapshots=own, absence=absence).choose(wanted)


def _absence(survey: SnapshotSurvey, service: str) -> tuple[str, str]:
    names = ", ".join(sorted({each.service for each in survey.snapshots}))
    return f"there is no snapshot of a service {service}", f"there are those of: {names}"


def parse_time(text: str) -> datetime:
    """Return an aware instant; UsageError when it is none."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the last hours of the year 9999 lie beyond it elsewhere
        raise UsageError(f"not a time: {text!r}", hint="write it like 2026-11-20T14:03 or 2026-11-20") from None
