"""Delete the checkpoints of a service: what was in service before its restores in place, and is no longer wanted.

With all of them goes what a restore that was cut off had staged: it takes the same room, and nobody else would miss it.
It can be named like a checkpoint, and goes alone then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import HoldfastError, UsageError
from holdfast.model import new_object_id
from holdfast.operations.in_place import place
from holdfast.operations.in_place.deeds import Deed, repository_of
from holdfast.operations.in_place.in_use import require_no_server, require_not_in_service
from holdfast.restore import checkpoint, staging
from holdfast.restore.journal import new_entry
from holdfast.restore.swap import unfinished_swap

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.restore.checkpoint import Checkpoint
    from holdfast.restore.staging import StagedRestore
    from holdfast.restore.state import StateDirectory

ACTION = "drop checkpoint"


@dataclass(frozen=True)
class PreparedDrop:
    """The checkpoints to delete, oldest first, and what was staged and did not come into service."""

    stack: Stack
    service: str
    state: StateDirectory
    checkpoints: tuple[Checkpoint, ...]
    leftover: StagedRestore | None


def prepare_drop(stack: Stack, service: str, asked: str | None = None) -> PreparedDrop:
    """Find a checkpoint, or what was staged, by its first digits; or all of them. Nothing is deleted.

    UsageError when there is none, HoldfastError while a swap is unfinished.
    """
    state = place.service_state(stack, service)
    checkpoints = tuple(checkpoint.read_checkpoints(state))
    leftover = staging.abandoned_staging(state)
    if not checkpoints and leftover is None:
        raise UsageError("there is no checkpoint of this service", hint="nothing is left to do")
    if asked and leftover is not None and leftover.id.startswith(asked):
        checkpoints = ()
    elif asked is not None:
        checkpoints, leftover = (checkpoint.choose_checkpoint(state, asked),), None
    prepared = PreparedDrop(stack, service, state, checkpoints, leftover)
    _require_droppable(prepared)
    return prepared


def drop(prepared: PreparedDrop, reporter: Reporter) -> None:
    """Delete them."""
    with prepared.state.locked():
        _require_droppable(prepared)
        if prepared.leftover is not None and staging.abandoned_staging(prepared.state) == prepared.leftover:
            reporter.phase(f"deleting what was staged in {prepared.leftover.parked.directory}")
            staging.delete_staging(prepared.state, prepared.leftover)
        for each in prepared.checkpoints:
            entry = msgspec.structs.replace(
                new_entry(new_object_id(), prepared.stack.stack, prepared.service, ACTION, each.parked.directory),
                was=each.description,
                became="deleted",
                checkpoint=each.id,
            )
            with Deed(prepared.state, entry, reporter, repository_of(prepared.stack, prepared.service)):
                reporter.phase(f"deleting checkpoint {each.short_id}")
                checkpoint.drop_checkpoint(prepared.state, each)


def _require_droppable(prepared: PreparedDrop) -> None:
    """Raise HoldfastError when something still needs what is to be deleted, or it is not what it was any more."""
    if unfinished_swap(prepared.state) is not None:
        raise HoldfastError(
            "a swap of this service was cut off, and still needs its checkpoint",
            hint="'holdfast restore SERVICE' finishes it, 'holdfast restore SERVICE --undo' turns it back",
        )
    known = checkpoint.read_checkpoints(prepared.state)
    if any(each not in known for each in prepared.checkpoints):
        raise HoldfastError("another run changed the checkpoints meanwhile", hint="run the same command again")
    for each in prepared.checkpoints:
        require_no_server(each.parked)
        record = checkpoint.record_path(prepared.state, each.id)
        require_not_in_service(each.parked, Path(each.home), record)
    if prepared.leftover is not None and (home := place.known_directory(prepared.stack, prepared.service)) is not None:
        require_not_in_service(prepared.leftover.parked, home, staging.record_path(prepared.state))
