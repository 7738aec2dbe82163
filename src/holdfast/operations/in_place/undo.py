"""Take a restore in place back: a checkpoint comes into service again, and what it replaces becomes the next one."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock
from holdfast.errors import HoldfastError, UsageError
from holdfast.model import new_object_id
from holdfast.operations.in_place import parts, place
from holdfast.operations.in_place.deeds import Deed, repository_of
from holdfast.operations.in_place.in_use import require_no_server
from holdfast.operations.in_place.wal_home import is_wal, outgoing_wal
from holdfast.restore import staging
from holdfast.restore.checkpoint import (
    checkpoint_name,
    choose_checkpoint,
    next_number,
    read_checkpoints,
    require_usable,
)
from holdfast.restore.exchange import plan_exchange, require_same_file_systems
from holdfast.restore.journal import new_entry
from holdfast.restore.swap import SwapIntent, swap
from holdfast.services.postgres.live import identity, look_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.restore.checkpoint import Checkpoint
    from holdfast.restore.exchange import Parked
    from holdfast.restore.state import StateDirectory
    from holdfast.restore.swap import SwapOutcome
    from holdfast.services.postgres.activation import PostgresSwitch
    from holdfast.services.postgres.live import LiveCluster

ACTION = "undo"


@dataclass(frozen=True)
class PreparedUndo:
    """An undo that is possible; ``parked`` is where what is in service goes (None: there is nothing).

    ``known`` are all checkpoints when it was planned: if there are others by now, what is in service changed.
    """

    id: str
    stack: Stack
    service: str
    live: LiveCluster
    state: StateDirectory
    switch: PostgresSwitch
    checkpoint: Checkpoint
    known: Sequence[Checkpoint]
    parked: Parked | None


def prepare_undo(stack: Stack, service: str, asked: str | None = None) -> PreparedUndo:
    """Plan to put a checkpoint back, by its first digits, else the newest; nothing is written.

    UsageError when there is no such checkpoint.
    """
    state = place.service_state(stack, service)
    if not read_checkpoints(state):
        _require_none_unrecorded(stack, service, state)
    checkpoint = choose_checkpoint(state, asked)
    undo_id = new_object_id()
    live, kept = look_at(Path(checkpoint.home)), Path(checkpoint.parked.directory)
    _require_possible(stack, service, checkpoint)
    _require_at_home(stack, service, live.directory)
    place.require_local(stack, service, live)
    staging.require_exchangeable(live.directory, None)
    require_same_file_systems(checkpoint.parked, live.directory)
    major = place.major_of([kept, live.directory])
    outsides = checkpoint.parked.outsides
    homes = [Path(outside.home) for outside in outsides if not is_wal(outside)]
    wal = outgoing_wal(live, undo_id, [Path(outside.home) for outside in outsides if is_wal(outside)])
    return PreparedUndo(
        id=undo_id,
        stack=stack,
        service=service,
        live=live,
        state=state,
        switch=place.make_switch(stack, service, live.directory, major),
        checkpoint=checkpoint,
        known=read_checkpoints(state),
        parked=parts.outgoing_parts(live, homes, undo_id, major, wal),
    )


def undo(prepared: PreparedUndo, reporter: Reporter) -> SwapOutcome:
    """Carry it out. SwapPutBackError when the checkpoint did not work in service, and what was there is back."""
    entry = msgspec.structs.replace(
        new_entry(prepared.id, prepared.stack.stack, prepared.service, ACTION, str(prepared.live.directory)),
        was=prepared.live.description,
        became=f"checkpoint {prepared.checkpoint.short_id}: {prepared.checkpoint.description}",
        identity_was=prepared.live.identity,
        identity_became=look_at(Path(prepared.checkpoint.parked.directory)).identity,
        checkpoint=prepared.id if prepared.parked else "",
    )
    with prepared.state.locked():
        place.require_finished(prepared.state)
        if read_checkpoints(prepared.state) != prepared.known:
            raise HoldfastError("another run changed the checkpoints meanwhile", hint="run the same command again")
        _require_possible(prepared.stack, prepared.service, prepared.checkpoint)
        with Deed(prepared.state, entry, reporter, repository_of(prepared.stack, prepared.service)) as deed:
            reporter.phase("writing a checkpoint of the server in service")
            prepared.switch.flush(reporter)
            intent = _intend(prepared)
            place.forget_acknowledgements(prepared.stack, prepared.service)
            outcome = swap(prepared.state, intent, prepared.switch.without_checks(), reporter)
            deed.outage(outcome.outage_s)
            _tell_what_checks_say(prepared.switch, reporter)
    return outcome


def _tell_what_checks_say(switch: PostgresSwitch, reporter: Reporter) -> None:
    """Warn of a check that is not content. What comes back may be what the restore was for, and is wanted as it is.

    An interruption ends the asking only: the undo is done, and to repeat it would take it back.
    """
    reporter.phase("running the checks")
    try:
        switch.run_checks()
    except (HoldfastError, KeyboardInterrupt) as error:
        reason = error.message if isinstance(error, HoldfastError) else "the checks were interrupted"
        reporter.warning(f"{reason}; what was put back is in service all the same")


def _require_none_unrecorded(stack: Stack, service: str, state: StateDirectory) -> None:
    """Raise UsageError for a checkpoint that is there, and of which nothing is recorded: the state was lost."""
    known = place.known_directory(stack, service)
    if known is None:
        return
    home = Path(os.path.realpath(known))
    if found := sorted(home.parent.glob(checkpoint_name(Path(glob.escape(home.name)), "*").name)):
        raise UsageError(
            f"{found[-1]} is a checkpoint, but {state.path} knows nothing of it",
            hint="if its records were moved, bring them back (restore.state); if they are lost, stop the server and "
            "exchange the directories by hand, those of tablespaces too",
        )


def _require_possible(stack: Stack, service: str, checkpoint: Checkpoint) -> None:
    """Raise HoldfastError when a checkpoint cannot be put back, or must not be as things are now."""
    require_usable(checkpoint)
    require_no_server(checkpoint.parked)
    live = look_at(Path(checkpoint.home))
    if live.is_standby:
        raise UsageError(
            f"{live.directory} is a standby now",
            hint="its primary is in service elsewhere, and the checkpoint would be a second one beside it: promote it "
            "before, if it is to be the primary again",
        )
    for each in (live, look_at(Path(checkpoint.parked.directory))):
        place.require_startable(stack, service, each)


def _require_at_home(stack: Stack, service: str, home: Path) -> None:
    """Raise UsageError when the service has moved: a checkpoint goes back to where it was."""
    known = place.known_directory(stack, service)
    if known is not None and Path(os.path.realpath(known)) != home:
        raise UsageError(
            f"the service is in {known} now, and the checkpoint was in service in {home}",
            hint="a checkpoint comes back to its own place: move the service back there, or correct 'data_directory'",
        )


def _intend(prepared: PreparedUndo) -> SwapIntent:
    live, checkpoint = prepared.live, prepared.checkpoint
    parts.prepare_places(prepared.parked, live)
    successor = parts.Successor(
        prepared.stack.stack,
        prepared.service,
        prepared.id,
        f"undo: checkpoint {checkpoint.short_id}",
        next_number(prepared.state),
    )
    return SwapIntent(
        id=prepared.id,
        action=ACTION,
        begun=clock.now().isoformat(timespec="seconds"),
        home=str(live.directory),
        incoming=checkpoint.parked,
        incoming_identity=_identity(Path(checkpoint.parked.directory)),
        checkpoint=parts.as_checkpoint(live, prepared.parked, successor),
        consumed=checkpoint,
        steps=plan_exchange(live.directory, prepared.parked, checkpoint.parked),
        was_running=prepared.switch.is_running(),
    )


def _identity(directory: Path) -> str:
    """Return the identity of a cluster that was shut down in order; of any other, the start decides what it is."""
    control = look_at(directory).control
    return identity(control) if control is not None and control.is_cleanly_shut_down else ""
