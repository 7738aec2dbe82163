"""Restore a service in place: staged beside what runs, recovered and proven there, then swapped in by rename."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock, crashpoint
from holdfast.config.choose import choose_service
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, InterruptedRunError, NoSpaceError, ServerError, StorageError
from holdfast.operations.in_place import parts, place
from holdfast.operations.in_place.deeds import Deed
from holdfast.operations.in_place.in_use import require_not_in_service
from holdfast.operations.in_place.leftover import go_on
from holdfast.operations.in_place.wal_home import move_wal, outgoing_wal
from holdfast.operations.restore import restore as restore_files
from holdfast.operations.wiring import connection_string
from holdfast.restore import staging
from holdfast.restore.checkpoint import next_number, read_checkpoints
from holdfast.restore.exchange import plan_exchange
from holdfast.restore.journal import new_entry
from holdfast.restore.swap import SwapIntent, swap
from holdfast.services.postgres.live import identity, look_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.operations.in_place.plan import PreparedInPlace
    from holdfast.progress import Reporter
    from holdfast.restore.exchange import Parked
    from holdfast.restore.recovery.reached import Reached
    from holdfast.services.postgres.health import PrivateServer

ACTION = "restore in place"


@dataclass(frozen=True)
class InPlaceDone:
    """What came of it; ``reached`` is None where nothing but the snapshot's own WAL was replayed."""

    outage_s: float | None
    reached: Reached | None
    description: str
    archives_again: bool


def restore_in_place(prepared: PreparedInPlace, reporter: Reporter) -> InPlaceDone:
    """Carry it out. SwapPutBackError when it did not work in service, and what was there is back."""
    entry = msgspec.structs.replace(
        new_entry(prepared.id, prepared.stack.stack, prepared.request.service, ACTION, str(prepared.live.directory)),
        was=prepared.live.description,
        became=prepared.became,
        identity_was=prepared.live.identity,
        snapshot=prepared.restore.plan.snapshot.id,
        target=str(prepared.request.target or ""),
        checkpoint=prepared.id if prepared.parked else "",
    )
    with prepared.state.locked():
        place.require_finished(prepared.state)
        with Deed(prepared.state, entry, reporter, lambda: prepared.restore.repository) as deed:
            with _keeping_what_is_staged(prepared):
                staged, reached, archives_again = _stage(prepared, reporter)
                reporter.phase("writing a checkpoint of the server in service")
                prepared.switch.flush(reporter)
                intent = _intend(prepared, staged)
            deed.became(look_at(prepared.place.directory).description, intent.incoming_identity)
            place.forget_acknowledgements(prepared.stack, prepared.request.service)
            outcome = swap(prepared.state, intent, prepared.switch, reporter)
            deed.outage(outcome.outage_s)
            staging.forget_staging(prepared.state)
    return InPlaceDone(outcome.outage_s, reached, look_at(prepared.live.directory).description, archives_again)


def _stage(prepared: PreparedInPlace, reporter: Reporter) -> tuple[Parked, Reached | None, bool]:
    """Restore, recover and prove the cluster in its staging place; what does not get that far is deleted again.

    But where only the repository went away, or somebody interrupted it: what was staged may be hours of work, and the
    next run goes on with it.
    """
    chosen, leftover = prepared.place, prepared.place.leftover
    if staging.abandoned_staging(prepared.state) != leftover:
        raise HoldfastError("another run staged something meanwhile", hint="run the same command again")
    if leftover is not None and chosen.delta is None:
        require_not_in_service(leftover.parked, prepared.live.directory, staging.record_path(prepared.state))
        reporter.notice(f"deleting what the restore of {leftover.begun} had staged in {leftover.parked.directory}")
        staging.delete_staging(prepared.state, leftover)
    record = chosen.record(prepared.restore.plan.snapshot, prepared.homes)
    staging.record_staging(prepared.state, record)
    try:
        return _restore_and_prove(prepared, reporter)
    except (HoldfastError, OSError) as error:
        if isinstance(error, StorageError) and not isinstance(error, NoSpaceError):
            reporter.notice(f"what was staged stays in {chosen.directory}: the same command goes on with it")
            raise
        reporter.phase("deleting what was staged")
        staging.delete_staging(prepared.state, record)
        raise


@contextmanager
def _keeping_what_is_staged(prepared: PreparedInPlace) -> Iterator[None]:
    """Turn an interruption of the block into an error that says what stays, how to go on with it and to delete it."""
    try:
        yield
    except KeyboardInterrupt:
        staged, service = staging.abandoned_staging(prepared.state), prepared.request.service
        if staged is None or not Path(staged.parked.directory).exists():
            raise
        raise InterruptedRunError(
            f"interrupted; nothing in service was touched, and what was staged stays in {staged.parked.directory}",
            hint="the same command goes on with it; "
            f"'holdfast restore {service} --drop-checkpoint --checkpoint {staged.short_id}' deletes it",
        ) from None


def _restore_and_prove(prepared: PreparedInPlace, reporter: Reporter) -> tuple[Parked, Reached | None, bool]:
    absent = [home for home in prepared.homes.values() if parts.is_ours_alone(home, prepared.place.part)]
    if prepared.place.delta is not None:
        go_on(prepared.place, prepared.place.delta, reporter)
    else:
        restore_files(prepared.restore, reporter)
    parts.give_homes(absent, prepared.place.directory)
    crashpoint.reach(CrashPoint.SWAP_STAGED)
    with _running(prepared, reporter) as (server, reached):
        crashpoint.reach(CrashPoint.SWAP_RECOVERED)
        _keep_wal_for_receiver(prepared, server, reporter)
        _prove(prepared, server, reporter)
    crashpoint.reach(CrashPoint.SWAP_PROVEN)
    staged = parts.staged_parts(
        prepared.place.directory, prepared.homes, prepared.place.part, prepared.restore.facts.major
    )
    archives_again = _rearm(prepared, reporter)
    if prepared.place.wal is not None:
        reporter.phase("moving the WAL to its disk")
        move_wal(prepared.place.directory, prepared.place.wal)
        staged = msgspec.structs.replace(staged, outsides=(*staged.outsides, prepared.place.wal))
    return staged, reached, archives_again


@contextmanager
def _running(prepared: PreparedInPlace, reporter: Reporter) -> Iterator[tuple[PrivateServer, Reached | None]]:
    """Yield the staged cluster's server, promoted, on a private socket; it is stopped in order in the end."""
    from holdfast.postgres.ping import connection_user
    from holdfast.services.postgres.health import PrivateServer

    user = connection_user(connection_string(choose_service(prepared.stack, prepared.request.service)))
    from holdfast.services.postgres.promotion import place_histories, promoted_alone

    kin = [Path(checkpoint.parked.directory) for checkpoint in read_checkpoints(prepared.state)]
    place_histories(prepared.place.directory, [prepared.live.directory, *kin])
    if prepared.recovery is None:
        reporter.phase("recovering")
        with promoted_alone(prepared.binaries, prepared.place.directory) as cluster:
            yield PrivateServer(cluster.conninfo(user=user), user), None
        return
    from holdfast.operations.recovery.run import recovered

    with recovered(prepared.recovery, prepared.place.directory, reporter) as server:
        reporter.phase("promoting")
        server.promote()
        yield PrivateServer(server.conninfo(user=user), user), server.reached


def _keep_wal_for_receiver(prepared: PreparedInPlace, server: PrivateServer, reporter: Reporter) -> None:
    """Give the cluster the slot of the service's receiver, where there is one: it follows to the new timeline."""
    from holdfast.operations.wal.compilation import spool_directory
    from holdfast.operations.wal.receive import slot_name
    from holdfast.services.postgres.slots import reserve_slot
    from holdfast.wal.receive_state import read_state

    stack, service = prepared.stack, prepared.request.service
    receiver = read_state(spool_directory(stack, service))
    if receiver is None or not receiver.slot:  # nobody would ever take WAL out of the slot, and the disk would fill
        return
    try:
        reserve_slot(server, slot_name(stack, service))
    except ServerError as error:
        reporter.warning(f"{error.message}; until 'holdfast wal receive' runs again, its WAL may be recycled")


def _prove(prepared: PreparedInPlace, server: PrivateServer, reporter: Reporter) -> None:
    from holdfast.services.postgres.health import check_relations, run_checks

    config = choose_service(prepared.stack, prepared.request.service).restore
    if config.amcheck:
        reporter.phase("looking through tables and indexes")
        check_relations(server, prepared.binaries, reporter)
    reporter.phase("running the checks")
    run_checks(server.reach("postgres"), place.checks_of(config))


def _rearm(prepared: PreparedInPlace, reporter: Reporter) -> bool:
    """Make the staged cluster fit to take the place of what is in service; whether it may archive as that did."""
    from holdfast.restore.marker import adopt_marker
    from holdfast.services.postgres.archive_status import queue_own_wal
    from holdfast.services.postgres.rearm import (
        differing_configuration,
        remove_makeshift_configuration,
        restore_settings,
    )

    directory, control = prepared.place.directory, look_at(prepared.place.directory).control
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
    control = look_at(prepared.place.directory).control
    assert control is not None
    live = look_at(prepared.live.directory)  # it has been in service while the restore was staged
    place.require_primary(live)
    wal = outgoing_wal(live, prepared.id, [Path(prepared.place.wal.home)] if prepared.place.wal else [])
    parked = parts.outgoing_parts(live, prepared.homes.values(), prepared.id, prepared.restore.facts.major, wal)
    parts.prepare_places(parked, live)
    successor = parts.Successor(
        prepared.stack.stack, prepared.request.service, prepared.id, prepared.became, next_number(prepared.state)
    )
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
