"""The plan of a recovery to a target: which snapshot, which history, and the proof that all the WAL is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import TargetNotReachableError, UsageError
from holdfast.operations.recovery.catch_up import ServiceArchive, let_archive_catch_up
from holdfast.operations.restore import RESTORE_NEEDS, prepare_restore_of, require_absolute
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.cache import default_cache_root
from holdfast.restore.recovery.estimate import Rates, load_rates
from holdfast.restore.target import LatestGoal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.config.models import Stack
    from holdfast.operations.recovery.catch_up import CatchUp
    from holdfast.operations.restore import PreparedRestore, PrepareRestore, RestoreRequest
    from holdfast.postgres.binaries import Binaries
    from holdfast.progress import Reporter
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.recovery.judge import Expected
    from holdfast.restore.select import Choice
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.coverage import Coverage

_LATEST = "latest"


@dataclass(frozen=True)
class RecoveryRequest:
    """What a user asks for: where the files go, and where recovery is to end.

    ``restore.snapshot`` "latest" means the newest complete snapshot from which the target can be reached. ``catch_up``
    is for what may lie in WAL that is not archived yet.
    """

    restore: RestoreRequest
    target: RecoveryTarget
    catch_up: CatchUp = let_archive_catch_up


@dataclass(frozen=True)
class PreparedRecovery:
    """A recovery that is planned and proven possible: the restore of the chosen snapshot, and the WAL from there.

    ``roles``: names under which somebody may exist in the cluster. ``rates`` estimate how long it takes.
    """

    restore: PreparedRestore
    expected: Expected
    archived: ServiceArchive
    coverage: Coverage
    roles: Sequence[str]
    rates: Rates

    @property
    def archive(self) -> WalArchive:
        """Where the WAL comes from."""
        return self.archived.archive

    @property
    def target(self) -> RecoveryTarget:
        """Where recovery is to end, as the server is told."""
        return self.expected.target

    @property
    def choice(self) -> Choice:
        """The snapshot, the history, and the proof that the WAL is there."""
        return self.expected.choice

    @property
    def replayed_bytes(self) -> int:
        """How much WAL lies between the start of the snapshot and the end of what is proven."""
        return max(self.choice.proof.end - self.choice.point.start, 0)

    @property
    def estimated_s(self) -> float:
        """How long restore and recovery will take, in seconds, at the rates of earlier runs."""
        return self.rates.seconds(self.restore.plan.size_bytes, self.replayed_bytes)


def prepare_recovery(
    stack: Stack,
    request: RecoveryRequest,
    reporter: Reporter,
    prepare: PrepareRestore = prepare_restore_of,
) -> PreparedRecovery:
    """Choose the snapshot, prove that all WAL up to the target is there, and plan the restore; nothing is written.

    ``prepare`` plans the restore of the chosen snapshot: into new directories, unless it is given.
    Raises TargetNotReachableError with the usable window, and whatever ``prepare_restore`` refuses.
    """
    require_absolute(request.restore.target)
    wanted = request.restore
    repository = open_stack_repository(stack, wanted.repository, wanted.service, needs=RESTORE_NEEDS)
    snapshots = _candidates(repository, stack.stack, wanted)
    archived, coverage, expected = _locate(stack, request, repository, snapshots, reporter)
    chosen = next(each for each in snapshots if each.id == expected.choice.point.id)
    planned = prepare(stack, wanted, repository, chosen)
    require_binaries(planned)
    return PreparedRecovery(
        restore=planned,
        expected=expected,
        archived=archived,
        coverage=coverage,
        roles=_roles(stack, wanted.service),
        rates=load_rates(default_cache_root()),
    )


def require_binaries(planned: PreparedRestore) -> Binaries:
    """Return the programs that recovery needs; UsageError where this machine has none of that version."""
    if planned.binaries is None:
        raise UsageError(
            f"recovery needs the programs of PostgreSQL {planned.facts.major}, and there are none on this machine",
            hint=f"install PostgreSQL {planned.facts.major}, or name its bin directory: 'binaries' in the stack file",
        )
    return planned.binaries


def _candidates(repository: Repository, stack: str, wanted: RestoreRequest) -> list[Snapshot]:
    """Return the snapshots that recovery may begin from: the one that is named, or all complete ones of the cluster.

    The cluster is that of the newest snapshot: one that was made anew under the same name has a past of its own.
    """
    survey = repository.survey_snapshots().of(stack, wanted.service)
    chosen = survey.choose_restorable(wanted.snapshot)
    if wanted.snapshot != _LATEST:
        return [chosen]
    identifier = chosen.facts.get("system_identifier")
    return [each for each in survey.snapshots if each.is_complete and each.facts.get("system_identifier") == identifier]


def _locate(
    stack: Stack, request: RecoveryRequest, repository: Repository, snapshots: Sequence[Snapshot], reporter: Reporter
) -> tuple[ServiceArchive, Coverage, Expected]:
    """Find the target; where it is not in the archive, once more after the service handed over its WAL."""
    service, target = request.restore.service, request.target
    archived, survey = _surveyor(stack, service, repository, snapshots)

    def catches_up() -> bool:
        return request.catch_up(stack, service, archived, reporter)

    if isinstance(target.goal, LatestGoal):
        catches_up()
    coverage = survey()
    try:
        return archived, coverage, _choose(archived.archive, coverage, target, reporter)
    except TargetNotReachableError:
        if isinstance(target.goal, LatestGoal) or not catches_up():
            raise
    coverage = survey()
    return archived, coverage, _choose(archived.archive, coverage, target, reporter)


def _surveyor(
    stack: Stack, service: str, repository: Repository, snapshots: Sequence[Snapshot]
) -> tuple[ServiceArchive, Callable[[], Coverage]]:
    """Return the archive of the newest snapshot's cluster, and what surveys it."""
    from holdfast.operations.left_timelines import timelines_left
    from holdfast.services.postgres.facts import from_facts
    from holdfast.services.postgres.points import snapshot_point
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.coverage import survey

    facts = from_facts(snapshots[-1].facts, snapshots[-1].object_name)
    archive = WalArchive(repository.storage, repository.keys, facts.system_identifier)
    points = [snapshot_point(snapshot) for snapshot in snapshots]

    def surveyed() -> Coverage:
        coverage = survey(archive, points, facts.wal_segment_size)
        left = timelines_left(stack, service, repository, facts.system_identifier, coverage.lineage)
        return replace(coverage, left=left)

    size = facts.wal_segment_size
    needed = {point.timeline: point.next_number(size) for point in points}
    return ServiceArchive(archive, size, needed, facts.data_directory), surveyed


def _choose(archive: WalArchive, coverage: Coverage, target: RecoveryTarget, reporter: Reporter) -> Expected:
    from holdfast.operations.recovery.cut_short import tell_of_gap
    from holdfast.operations.recovery.locate import Locator
    from holdfast.restore.recovery.judge import Expected
    from holdfast.restore.select import choose, target_timelines

    reporter.phase("looking for the target in the WAL")
    timelines = target_timelines(coverage, target, coverage.points)
    located = Locator(archive, coverage, reporter).locate(target, timelines)
    choice = choose(coverage, located.target, located.position, coverage.points)
    tell_of_gap(coverage, target, choice, reporter)
    return Expected(located.target, choice, located.position, located.latest_told)


def _roles(stack: Stack, service: str) -> list[str]:
    """Return roles that may exist in the cluster: the one that backs it up, and the usual superuser."""
    from psycopg.conninfo import conninfo_to_dict

    config = stack.services.get(service)
    user = conninfo_to_dict(config.connection).get("user") if config else None
    return list(dict.fromkeys([str(user or "postgres"), "postgres"]))
