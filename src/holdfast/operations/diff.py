"""Compare two snapshots of one repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.snapshots import SnapshotFinder
from holdfast.operations.wiring import open_stack_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack
    from holdfast.repository.compare import Difference
    from holdfast.repository.snapshot import Snapshot, SnapshotSurvey
    from holdfast.services.postgres.recorded_names import RecordedNames

_NEEDS = ("holdfast.repository.compare", "holdfast.repository.salvage", "holdfast.services.postgres.recorded_names")


@dataclass(frozen=True)
class SnapshotDiff:
    """What differs from ``old`` to ``new``, by path, and the names of relations as they were known at either."""

    old: Snapshot
    new: Snapshot
    differences: Iterator[Difference]
    before: RecordedNames
    after: RecordedNames


@dataclass(frozen=True)
class DiffRequest:
    """What to compare, in words that SnapshotFinder takes; without ``after``, ``before`` and the snapshot before it."""

    before: str
    after: str | None
    service: str
    repository: str | None


def diff(stack: Stack, request: DiffRequest) -> SnapshotDiff:
    """Return what differs between two snapshots; both are found now, and compared as the differences are taken.

    Raises UsageError, which names near ids, or all that fit, and when both are one; DamageError when what is damaged
    might be meant.
    """
    repository = open_stack_repository(stack, request.repository, needs=_NEEDS)
    from holdfast.repository.compare import compare_snapshots

    survey = repository.survey_snapshots()
    old, new = _both(SnapshotFinder(survey, stack.stack, request.service), request)
    differences = compare_snapshots(repository.reader(), old, new)
    return SnapshotDiff(old, new, differences, _names_until(survey, old), _names_until(survey, new))


def _both(finder: SnapshotFinder, request: DiffRequest) -> tuple[Snapshot, Snapshot]:
    named = finder.find(request.before)
    if request.after is None:
        return finder.before(named), named
    other = finder.find(request.after)
    if other.id == named.id:
        raise UsageError(
            f"both are the snapshot {named.short_id}, which does not differ from itself",
            hint=f"'holdfast diff {named.short_id}' compares it with the one before it",
        )
    return named, other


def _names_until(survey: SnapshotSurvey, last: Snapshot) -> RecordedNames:
    """Return the names that a snapshot and those before it recorded; none of a service that has no relations."""
    from holdfast.services.postgres.recorded_names import RecordedNames

    own = survey.of(last.stack, last.service).snapshots if last.kind == "postgres" else ()
    return RecordedNames(each for each in own if each.kind == last.kind and each.started <= last.started)
