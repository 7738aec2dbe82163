"""Ask the WAL of one service: who committed when, and where a restore point lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from holdfast.config.choose import choose_service
from holdfast.errors import TargetNotReachableError
from holdfast.operations.left_timelines import timelines_left
from holdfast.operations.recovery.catch_up import ServiceArchive, let_archive_catch_up
from holdfast.operations.snapshots import find_snapshot
from holdfast.operations.wiring import open_stack_repository
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.restore.target import TimelineRule
from holdfast.services.postgres.facts import from_facts
from holdfast.services.postgres.points import snapshot_point
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

Answer = TypeVar("Answer", covariant=True)  # noqa: PLC0105 - it is no name of a kind


@dataclass(frozen=True)
class WalFindRequest:
    """Whose WAL to look at, and which past: as a restore would follow it."""

    service: str
    timeline: Timeline | TimelineRule
    repository: str | None


class Question(Protocol[Answer]):
    """Something that the WAL is asked for."""

    def reaches_beyond(self, finder: WalFinder) -> bool:
        """Whether a part of the answer may lie in later WAL than there is."""

    def ask(self, finder: WalFinder) -> Answer:
        """Read the WAL; TargetNotReachableError when the answer is not in it."""


def ask(
    stack: Stack, request: WalFindRequest, question: Question[Answer], reporter: Reporter
) -> tuple[WalFinder, Answer]:
    """Ask the archived WAL of the service's newest snapshot's cluster; return who answered, and the answer.

    Where that may lie beyond what is archived, the service hands over its latest WAL first. Raises UsageError for an
    unknown service, or one without a snapshot; TargetNotReachableError for an unknown timeline, or when no WAL is
    archived, or the answer is in none of it.
    """
    choose_service(stack, request.service)
    repository = open_stack_repository(stack, request.repository, request.service)
    snapshot = find_snapshot(repository, stack, "latest", request.service)
    facts, point = from_facts(snapshot.facts, snapshot.id), snapshot_point(snapshot)
    archive, size = WalArchive(repository.storage, repository.keys, facts.system_identifier), facts.wal_segment_size

    def opened() -> WalFinder:
        lineage = survey(archive, (), size).lineage
        left = timelines_left(stack, request.service, repository, facts.system_identifier, lineage)
        history = _history(lineage, left, request.timeline, facts)
        return _finder(ArchiveSource(archive, history, size), request, reporter)

    missing: TargetNotReachableError | None = None
    try:
        finder = opened()
        if not question.reaches_beyond(finder):
            return finder, question.ask(finder)
    except TargetNotReachableError as error:
        missing = error
    archived = ServiceArchive(archive, size, {point.timeline: point.next_number(size)}, facts.data_directory)
    if not let_archive_catch_up(stack, request.service, archived, reporter) and missing is not None:
        raise missing
    finder = opened()
    return finder, question.ask(finder)


def _finder(source: ArchiveSource, request: WalFindRequest, reporter: Reporter) -> WalFinder:
    finder = WalFinder(source, reporter)
    if not finder.segments:
        raise TargetNotReachableError(
            f"no WAL of {request.service} is archived on timeline {source.history.timeline}",
            hint=f"'holdfast wal setup {request.service}' says how to archive it",
        )
    reporter.phase("reading WAL")
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
