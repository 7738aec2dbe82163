"""Compare two snapshots of one repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """What differs, by path, and the names of relations as they were known at either snapshot."""

    differences: Iterator[Difference]
    before: RecordedNames
    after: RecordedNames


def diff(stack: Stack, asked: str | None, before: str, after: str) -> SnapshotDiff:
    """Return what differs between two snapshots; both are found now, and compared as the differences are taken.

    Raises UsageError, which names near ids, or all that fit; DamageError when what is damaged might be meant.
    """
    repository = open_stack_repository(stack, asked, needs=_NEEDS)
    from holdfast.repository.compare import compare_snapshots

    survey = repository.survey_snapshots()
    old, new = survey.choose(before), survey.choose(after)
    differences = compare_snapshots(repository.reader(), old, new)
    return SnapshotDiff(differences, _names_until(survey, old), _names_until(survey, new))


def _names_until(survey: SnapshotSurvey, last: Snapshot) -> RecordedNames:
    """Return the names that a snapshot and those before it recorded; none of a service that has no relations."""
    from holdfast.services.postgres.recorded_names import RecordedNames

    own = survey.of(last.stack, last.service).snapshots if last.kind == "postgres" else ()
    return RecordedNames(each for each in own if each.kind == last.kind and each.started <= last.started)
