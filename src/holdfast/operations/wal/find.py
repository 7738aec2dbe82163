"""Open the WAL of one service for questions about it: who committed when, and where a restore point lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import TargetNotReachableError
from holdfast.operations.left_timelines import timelines_left
from holdfast.operations.recovery.catch_up import let_archive_catch_up
from holdfast.operations.snapshots import find_snapshot
from holdfast.operations.wiring import open_stack_repository
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.restore.target import TimelineRule
from holdfast.services.postgres.facts import from_facts
from holdfast.wal.archive import WalArchive
from holdfast.wal.coverage import survey
from holdfast.wal.find import WalFinder
from holdfast.wal.sources import ArchiveSource

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.postgres.timeline import TimelineHistory
    from holdfast.progress import Reporter
    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.wal.lineage import Lineage


@dataclass(frozen=True)
class WalFindRequest:
    """Whose WAL to look at, and which past: as a restore would follow it."""

    service: str
    timeline: Timeline | TimelineRule = TimelineRule.LATEST
    repository: str | None = None


def open_finder(stack: Stack, request: WalFindRequest, reporter: Reporter) -> WalFinder:
    """Return what answers questions about the archived WAL of the service's newest snapshot's cluster.

    Raises UsageError for an unknown service, or one without a snapshot; TargetNotReachableError for an unknown
    timeline, or when no WAL is archived.
    """
    choose_service(stack, request.service)
    let_archive_catch_up(stack, request.service, reporter)
    repository = open_stack_repository(stack, request.repository, request.service)
    snapshot = find_snapshot(repository, "latest", request.service)
    facts = from_facts(snapshot.facts, snapshot.id)
    archive = WalArchive(repository.storage, repository.keys, facts.system_identifier)
    lineage = survey(archive, (), facts.wal_segment_size).lineage
    left = timelines_left(stack, request.service, repository, facts.system_identifier, lineage)
    history = _history(lineage, left, request.timeline, facts)
    finder = WalFinder(ArchiveSource(archive, history, facts.wal_segment_size), reporter)
    if not finder.segments:
        raise TargetNotReachableError(
            f"no WAL of {request.service} is archived on timeline {history.timeline}",
            hint=f"'holdfast wal setup {request.service}' says how to archive it",
        )
    return finder


def _history(
    lineage: Lineage, left: frozenset[Timeline], asked: Timeline | TimelineRule, facts: PostgresFacts
) -> TimelineHistory:
    """Return the past that recovery of a snapshot would follow (``recovery_target_timeline``)."""
    own = Timeline(facts.timeline)
    if asked is TimelineRule.CURRENT:
        return lineage.history(own)
    if isinstance(asked, Timeline):
        if asked not in lineage.histories:
            known = ", ".join(map(str, sorted(lineage.histories))) or "none"
            raise TargetNotReachableError(
                f"the archive knows no timeline {asked}", hint=f"timelines in the archive: {known}"
            )
        return lineage.history(asked)
    stop = Lsn.parse(facts.stop_lsn)
    heirs = {each for each, history in lineage.histories.items() if history.has_point(own, stop)}
    return lineage.history(max(heirs - left or heirs, default=own))
