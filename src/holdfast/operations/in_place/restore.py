"""Restore a service in place: staged beside what runs, recovered and proven there, then swapped in by rename."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock, crashpoint
from holdfast.config.choose import choose_service
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, UsageError
from holdfast.model import new_object_id
from holdfast.operations.in_place import parts, place
from holdfast.operations.in_place.catch_up import let_archive_catch_up
from holdfast.operations.in_place.deeds import Deed
from holdfast.operations.restore import RestoreRequest, prepare_restore
from holdfast.operations.restore import restore as restore_files
from holdfast.operations.wiring import connection_string, open_stack_repository
from holdfast.restore import staging
from holdfast.restore.checkpoint import read_checkpoints
from holdfast.restore.exchange import plan_exchange
from holdfast.restore.journal import new_entry, read_journal
from holdfast.restore.swap import SwapIntent, swap, unfinished_swap
from holdfast.services.postgres.live import identity, look_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.config.models import Stack
    from holdfast.operations.recovering import PreparedRecovery
    from holdfast.operations.restore import PreparedRestore
    from holdfast.postgres.binaries import Binaries
    from holdfast.progress import Reporter
    from holdfast.restore.exchange import Parked
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.state import StateDirectory
    from holdfast.restore.target import RecoveryTarget
    from holdfast.services.postgres.activation import PostgresSwitch
    from holdfast.services.postgres.health import PrivateServer
    from holdfast.services.postgres.live import LiveCluster

ACTION = "restore in place"


@dataclass(frozen=True)
class InPlaceRequest:
    """What a user asks for; ``tablespaces`` maps names to directories, ``target`` is None for the snapshot's end."""

    service: str
    snapshot: str = "latest"
    repository: str | None = None
    tablespaces: Mapping[str, Path] = field(default_factory=dict)
    target: RecoveryTarget | None = None


@dataclass(frozen=True)
class PreparedInPlace:
    """A restore in place that is planned and possible.

    ``staging`` is where the data directory is staged, ``homes`` are where its tablespaces belong, by number, and
    ``parked`` is where what is in service goes (None: there is nothing).
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
    staging: Path
    homes: Mapping[int, Path]
    parked: Parked | None

    @property
    def last_outage_s(self) -> float | None:
        """How long the last swap of this service kept it out of service."""
        known = [each.outage_s for each in read_journal(self.state) if each.outage_s is not None]
        return known[-1] if known else None

    @property
    def notes(self) -> list[str]:
        """What comes back otherwise than it is now."""
        lines = []
        control = self.live.control
        if control is not None and str(control.system_identifier) != self.restore.facts.system_identifier:
            lines.append("the cluster in service is another one than that of the snapshot (see the system identifier)")
        wal = self.live.directory / "pg_wal"
        if wal.is_symlink():
            lines.append(f"pg_wal is a link to {wal.readlink()}; the restored cluster has it in its data directory")
        return lines

    @property
    def became(self) -> str:
        """What comes into service, in words."""
        target = f", recovered to {self.request.target}" if self.request.target else ""
        return f"snapshot {self.restore.plan.snapshot.short_id}{target}"


@dataclass(frozen=True)
class InPlaceDone:
    """What came of it; ``reached`` is None where nothing but the snapshot's own WAL was replayed."""

    outage_s: float | None
    reached: Reached | None
    description: str
    archives_again: bool


def prepare_in_place(stack: Stack, request: InPlaceRequest, reporter: Reporter) -> PreparedInPlace:
    """Plan a restore in place, having refused what stands in its way; nothing is written."""
    state, config = place.service_state(stack, request.service), choose_service(stack, request.service)
    _require_finished(state)
    live = look_at(place.known_directory(stack, request.service) or _directory_in_snapshot(stack, request))
    place.require_primary(live)
    place.require_local(stack, request.service, live)
    staging.require_exchangeable(live.directory, config.restore.staging)

    restore_id = new_object_id()
    directory = staging.staging_name(live.directory, restore_id, config.restore.staging)
    wanted = RestoreRequest(
        request.service,
        directory,
        request.snapshot,
        request.repository,
        request.tablespaces,
        tablespace_part=staging.staging_part(restore_id),
    )
    prepared, recovery = _plan(stack, wanted, request.target, reporter)
    homes = parts.tablespace_homes(prepared.facts, request.tablespaces)
    _require_runnable(live, prepared)
    parts.require_own_homes(live, homes)
    if request.target is not None:
        parts.require_tablespaces_of(live, homes)
    assert prepared.binaries is not None
    return PreparedInPlace(
        id=restore_id,
        stack=stack,
        request=request,
        live=live,
        state=state,
        switch=place.make_switch(stack, request.service, live.directory, prepared.facts.major),
        restore=prepared,
        recovery=recovery,
        binaries=prepared.binaries,
        staging=directory,
        homes=homes,
        parked=parts.outgoing_parts(live, homes.values(), restore_id, prepared.facts.major),
    )


def restore_in_place(prepared: PreparedInPlace, reporter: Reporter) -> InPlaceDone:
    """Carry it out. SwapPutBackError when it did not work in service, and what was there is back."""
    entry = msgspec.structs.replace(
        new_entry(prepared.id, prepared.stack.stack, prepared.request.service, ACTION, str(prepared.live.directory)),
        was=prepared.live.description,
        became=prepared.became,
        snapshot=prepared.restore.plan.snapshot.id,
        target=str(prepared.request.target or ""),
        checkpoint=prepared.id if prepared.parked else "",
    )
    with prepared.state.locked():
        _require_finished(prepared.state)
        with Deed(prepared.state, entry, reporter, lambda: prepared.restore.repository) as deed:
            staged, reached, archives_again = _stage(prepared, reporter)
            intent = _intend(prepared, staged)
            deed.became(describe_directory(prepared.staging))
            prepared.switch.flush()
            place.forget_acknowledgements(prepared.stack, prepared.request.service)
            outcome = swap(prepared.state, intent, prepared.switch, reporter)
            deed.outage(outcome.outage_s)
            staging.forget_staging(prepared.state)
    return InPlaceDone(outcome.outage_s, reached, describe_directory(prepared.live.directory), archives_again)


def _require_finished(state: StateDirectory) -> None:
    if unfinished_swap(state) is not None:
        raise HoldfastError(
            "an earlier swap of this service was cut off",
            hint="'holdfast restore SERVICE' finishes it, 'holdfast restore SERVICE --undo' turns it back",
        )


def _directory_in_snapshot(stack: Stack, request: InPlaceRequest) -> Path:
    """Return where the data directory was when it was backed up: nothing else tells it any more."""
    repository = open_stack_repository(stack, request.repository, request.service)
    snapshot = repository.survey_snapshots().of(stack.stack, request.service).choose_restorable(request.snapshot)
    return Path(str(snapshot.facts["data_directory"]))


def _plan(
    stack: Stack, wanted: RestoreRequest, target: RecoveryTarget | None, reporter: Reporter
) -> tuple[PreparedRestore, PreparedRecovery | None]:
    """Plan the restore, and the recovery where there is an archive: it knows which timelines there have been."""
    from holdfast.operations.recovering import RecoveryRequest, prepare_recovery
    from holdfast.restore.target import ImmediateGoal, RecoveryTarget

    if target is None:
        prepared = prepare_restore(stack, wanted)
        if not _has_archive(prepared):
            return prepared, None
        wanted, target = replace(wanted, snapshot=prepared.plan.snapshot.id), RecoveryTarget(ImmediateGoal())
    else:
        let_archive_catch_up(stack, wanted.service, reporter)
    recovery = prepare_recovery(stack, RecoveryRequest(wanted, target), reporter)
    return recovery.restore, recovery


def _has_archive(prepared: PreparedRestore) -> bool:
    from holdfast.wal.archive import WalArchive

    repository = prepared.repository
    archive = WalArchive(repository.storage, repository.keys, prepared.facts.system_identifier)
    return next(archive.list(), None) is not None


def _require_runnable(live: LiveCluster, prepared: PreparedRestore) -> None:
    major = prepared.facts.major
    if prepared.binaries is None:
        raise UsageError(
            f"the snapshot needs PostgreSQL {major}, which was not found on this machine",
            hint="install it, or say where it is: binaries: DIR of this service",
        )
    if live.control is not None and live.control.major != major:
        raise UsageError(
            f"the snapshot is of PostgreSQL {major}, and {live.control.major} is in service",
            hint="choose a later snapshot, or restore to a new directory: --target DIR",
        )


def _stage(prepared: PreparedInPlace, reporter: Reporter) -> tuple[Parked, Reached | None, bool]:
    """Restore, recover and prove the cluster in its staging place; what does not get that far is deleted again."""
    abandoned = staging.abandoned_staging(prepared.state)
    if abandoned is not None:
        reporter.notice(f"deleting what the restore of {abandoned.begun} had staged in {abandoned.parked.directory}")
        staging.delete_staging(prepared.state, abandoned)
    record = staging.StagedRestore(
        id=prepared.id,
        begun=clock.now().isoformat(timespec="seconds"),
        snapshot=prepared.restore.plan.snapshot.id,
        parked=parts.places_to_fill(prepared.staging, prepared.homes, staging.staging_part(prepared.id)),
    )
    staging.record_staging(prepared.state, record)
    try:
        return _restore_and_prove(prepared, reporter)
    except (HoldfastError, OSError, KeyboardInterrupt):
        reporter.phase("deleting what was staged")
        staging.delete_staging(prepared.state, record)
        raise


def _restore_and_prove(prepared: PreparedInPlace, reporter: Reporter) -> tuple[Parked, Reached | None, bool]:
    absent = [home for home in prepared.homes.values() if not home.exists()]
    restore_files(prepared.restore, reporter)
    parts.give_homes(absent, prepared.staging)
    crashpoint.reach(CrashPoint.SWAP_STAGED)
    with _running(prepared, reporter) as (server, reached):
        crashpoint.reach(CrashPoint.SWAP_RECOVERED)
        _prove(prepared, server, reporter)
    crashpoint.reach(CrashPoint.SWAP_PROVEN)
    staged = parts.staged_parts(
        prepared.staging, prepared.homes, staging.staging_part(prepared.id), prepared.restore.facts.major
    )
    return staged, reached, _rearm(prepared, reporter)


@contextmanager
def _running(prepared: PreparedInPlace, reporter: Reporter) -> Iterator[tuple[PrivateServer, Reached | None]]:
    """Yield the staged cluster's server, promoted, on a private socket; it is stopped in order in the end."""
    from holdfast.postgres.ping import connection_user
    from holdfast.services.postgres.health import PrivateServer

    user = connection_user(connection_string(choose_service(prepared.stack, prepared.request.service)))
    from holdfast.services.postgres.promotion import place_histories, promoted_alone

    kin = [Path(checkpoint.parked.directory) for checkpoint in read_checkpoints(prepared.state)]
    place_histories(prepared.staging, [prepared.live.directory, *kin])
    if prepared.recovery is None:
        reporter.phase("recovering")
        with promoted_alone(prepared.binaries, prepared.staging, user) as cluster:
            yield PrivateServer(cluster.conninfo(user=user), user), None
        return
    from holdfast.operations.recovering import recovered

    with recovered(prepared.recovery, prepared.staging, reporter) as server:
        reporter.phase("promoting")
        server.promote()
        yield PrivateServer(server.conninfo(user=user), user), server.reached


def _prove(prepared: PreparedInPlace, server: PrivateServer, reporter: Reporter) -> None:
    from holdfast.services.postgres.health import check_relations, run_checks

    config = choose_service(prepared.stack, prepared.request.service).restore
    if config.amcheck:
        reporter.phase("looking through tables and indexes")
        check_relations(server, prepared.binaries, reporter)
    reporter.phase("running the checks")
    run_checks(server.reach("postgres"), config.checks)


def _rearm(prepared: PreparedInPlace, reporter: Reporter) -> bool:
    """Make the staged cluster fit to take the place of what is in service; whether it may archive as that did."""
    from holdfast.restore.marker import adopt_marker
    from holdfast.services.postgres.archive_status import queue_own_wal
    from holdfast.services.postgres.rearm import (
        differing_configuration,
        remove_makeshift_configuration,
        restore_settings,
    )

    directory, control = prepared.staging, look_at(prepared.staging).control
    remove_makeshift_configuration(directory)
    for name in differing_configuration(directory, prepared.live.directory):
        reporter.notice(f"{name} comes back as it was in the snapshot; the present one is kept with the checkpoint")
    if control is None or control.timeline == prepared.restore.facts.timeline:
        reporter.warning("the restored cluster is on no timeline of its own, so archiving stays off in it")
        return False
    restore_settings(directory)
    queue_own_wal(directory, control)
    adopt_marker(directory)
    return True


def _intend(prepared: PreparedInPlace, staged: Parked) -> SwapIntent:
    control = look_at(prepared.staging).control
    assert control is not None
    live = look_at(prepared.live.directory)  # it has been in service while the restore was staged
    parked = parts.outgoing_parts(live, prepared.homes.values(), prepared.id, prepared.restore.facts.major)
    parts.prepare_places(parked, live)
    successor = parts.Successor(prepared.stack.stack, prepared.request.service, prepared.id, prepared.became)
    return SwapIntent(
        id=prepared.id,
        action=ACTION,
        begun=clock.now().isoformat(timespec="seconds"),
        home=str(live.directory),
        incoming=staged,
        incoming_identity=identity(control),
        checkpoint=parts.as_checkpoint(live, parked, successor),
        steps=plan_exchange(live.directory, parked, staged),
        was_running=prepared.switch.is_running(),
    )


def describe_directory(directory: Path) -> str:
    """Return what a data directory holds, in words."""
    return look_at(directory).description
