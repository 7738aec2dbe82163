"""The plan of a restore in place: what is there, what comes, where it is staged, what stands in the way."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import NoSpaceError, UsageError
from holdfast.model import new_object_id
from holdfast.operations.in_place import parts, place
from holdfast.operations.in_place.leftover import StagingPlanner
from holdfast.operations.in_place.notes import notes_on
from holdfast.operations.in_place.wal_home import outgoing_wal
from holdfast.operations.recovery.plan import RecoveryRequest, prepare_recovery, require_binaries
from holdfast.operations.restore import RestoreRequest, prepare_restore
from holdfast.operations.wiring import open_stack_repository
from holdfast.restore import staging
from holdfast.restore.checkpoint import read_checkpoints
from holdfast.restore.journal import read_journal
from holdfast.services.postgres.live import look_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from holdfast.config.models import Stack
    from holdfast.operations.in_place.leftover import StagingPlace
    from holdfast.operations.recovery.catch_up import CatchUp
    from holdfast.operations.recovery.plan import PreparedRecovery
    from holdfast.operations.restore import PreparedRestore
    from holdfast.postgres.binaries import Binaries
    from holdfast.progress import Reporter
    from holdfast.restore.exchange import Parked
    from holdfast.restore.state import StateDirectory
    from holdfast.restore.target import RecoveryTarget
    from holdfast.services.postgres.activation import PostgresSwitch
    from holdfast.services.postgres.live import LiveCluster


@dataclass(frozen=True)
class InPlaceRequest:
    """What a user asks for; ``tablespaces`` maps names to directories, ``target`` is None for the snapshot's end.

    ``catch_up`` as of a RecoveryRequest.
    """

    service: str
    snapshot: str
    repository: str | None
    tablespaces: Mapping[str, Path]
    target: RecoveryTarget | None
    catch_up: CatchUp


@dataclass(frozen=True)
class PreparedInPlace:
    """A restore in place that is planned and possible.

    ``place`` is where it is staged, ``homes`` are where its tablespaces belong, by number, and ``parked`` is where what
    is in service goes (None: there is nothing). ``notes`` say what comes back otherwise than it is now, or not at all.
    """

    id: str
    stack: Stack
    request: InPlaceRequest
    live: LiveCluster
    state: StateDirectory
    switch: PostgresSwitch
    restore: PreparedRestore
    recovery: PreparedRecovery | None
    binaries: Binaries
    place: StagingPlace
    homes: Mapping[int, Path]
    parked: Parked | None
    notes: Sequence[str]

    @property
    def last_outage_s(self) -> float | None:
        """How long the last swap of this service kept it out of service."""
        known = [each.outage_s for each in read_journal(self.state) if each.outage_s is not None]
        return known[-1] if known else None

    @property
    def became(self) -> str:
        """What comes into service, in words."""
        target = f", recovered to {self.request.target}" if self.request.target else ""
        return f"snapshot {self.restore.plan.snapshot.short_id}{target}"


def prepare_in_place(stack: Stack, request: InPlaceRequest, reporter: Reporter) -> PreparedInPlace:
    """Plan a restore in place, having refused what stands in its way; nothing is written."""
    state, config = place.service_state(stack, request.service), choose_service(stack, request.service)
    place.require_finished(state)
    live = look_at(place.known_directory(stack, request.service) or _directory_in_snapshot(stack, request))
    place.require_primary(live)
    place.require_local(stack, request.service, live)
    place.require_startable(stack, request.service, live)
    staging.require_exchangeable(live.directory, config.restore.staging)

    restore_id = new_object_id()
    planner = StagingPlanner(restore_id, live, config.restore.staging, state)
    wanted = RestoreRequest(
        request.service,
        planner.place.directory,
        request.snapshot,
        request.repository,
        request.tablespaces,
        tablespace_part=planner.place.part,
    )
    with _saying_what_can_be_dropped(state, request.service):
        prepared, recovery = _plan(stack, wanted, request, planner, reporter)
    homes = parts.tablespace_homes(prepared.facts, request.tablespaces)
    binaries = require_binaries(prepared)
    _require_same_major(live, prepared.facts.major)
    parts.require_own_homes(live, homes)
    if request.target is not None:
        parts.require_tablespaces_of(live, homes)
    return PreparedInPlace(
        id=restore_id,
        stack=stack,
        request=request,
        live=live,
        state=state,
        switch=place.make_switch(stack, request.service, live.directory, prepared.facts.major),
        restore=prepared,
        recovery=recovery,
        binaries=binaries,
        place=planner.place,
        homes=homes,
        parked=parts.outgoing_parts(
            live, homes.values(), restore_id, prepared.facts.major, outgoing_wal(live, restore_id)
        ),
        notes=[
            *([note] if (note := planner.place.note) else ()),
            *notes_on(stack, request.service, live, prepared, recovery),
        ],
    )


def _directory_in_snapshot(stack: Stack, request: InPlaceRequest) -> Path:
    """Return where the data directory was when it was backed up: nothing else tells it any more."""
    repository = open_stack_repository(stack, request.repository, request.service)
    snapshot = repository.survey_snapshots().of(stack.stack, request.service).choose_restorable(request.snapshot)
    known = str(snapshot.facts["data_directory"])
    if not known:
        raise UsageError(
            "the snapshot does not know where the data directory was, as it came by the replication protocol",
            hint="name it: 'data_directory' of the service in the stack file",
        )
    return Path(known)


def _plan(
    stack: Stack,
    wanted: RestoreRequest,
    request: InPlaceRequest,
    planner: StagingPlanner,
    reporter: Reporter,
) -> tuple[PreparedRestore, PreparedRecovery | None]:
    """Plan the restore, and the recovery where there is an archive: it knows which timelines there have been."""
    from holdfast.restore.target import ImmediateGoal, RecoveryTarget

    target = request.target
    if target is None:
        prepared = prepare_restore(stack, wanted, planner.prepare)
        if not _has_archive(prepared):
            return prepared, None
        wanted, target = replace(wanted, snapshot=prepared.plan.snapshot.id), RecoveryTarget(ImmediateGoal())
    recovery = prepare_recovery(stack, RecoveryRequest(wanted, target, request.catch_up), reporter, planner.prepare)
    return recovery.restore, recovery


def _has_archive(prepared: PreparedRestore) -> bool:
    from holdfast.wal.archive import WalArchive

    repository = prepared.repository
    archive = WalArchive(repository.storage, repository.keys, prepared.facts.system_identifier)
    return next(archive.list(), None) is not None


@contextmanager
def _saying_what_can_be_dropped(state: StateDirectory, service: str) -> Iterator[None]:
    """Add to a refusal for want of room what earlier restores keep, and how that is deleted."""
    try:
        yield
    except NoSpaceError as error:
        if read_checkpoints(state):
            drop = f"'holdfast restore {service} --drop-checkpoint' deletes what earlier restores keep"
            error.hint = f"{drop}; or {error.hint}"
        raise


def _require_same_major(live: LiveCluster, major: int) -> None:
    if live.control is not None and live.control.major != major:
        raise UsageError(
            f"the snapshot is of PostgreSQL {major}, and {live.control.major} is in service",
            hint="choose a later snapshot, or restore to a new directory: --target DIR",
        )
