"""Checkpoints: what was in service before a restore in place, kept as it was until the operator drops it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, UsageError, reason_of
from holdfast.restore.durable import sync_directory
from holdfast.restore.exchange import Parked

if TYPE_CHECKING:
    from holdfast.restore.state import StateDirectory

_RECORDS = "checkpoints"
SHORT = 8
"""Digits of a checkpoint's id in the names of its directories, and in what people read."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One state that was in service at ``home``, and where it is now.

    ``number`` tells their order: a clock may be set back. ``made`` is ISO 8601 in UTC; ``until`` says what took its
    place. ``description`` says what it is, as far as its control file tells. ``is_dropping``: its deletion has begun,
    so it can no longer be put back.
    """

    id: str
    number: int
    stack: str
    service: str
    made: str
    until: str
    home: str
    parked: Parked
    description: str = ""
    is_dropping: bool = False

    @property
    def short_id(self) -> str:
        """The first digits, as people see them."""
        return self.id[:SHORT]

    @property
    def is_present(self) -> bool:
        """Whether its directories are where they should be."""
        return all(place.is_dir() for place in self.parked.places)


def checkpoint_name(directory: Path, checkpoint_id: str) -> Path:
    """Return where the main directory goes when it becomes a checkpoint: beside itself."""
    return directory.with_name(f"{directory.name}.holdfast-checkpoint-{checkpoint_id[:SHORT]}")


def parked_name(checkpoint_id: str) -> str:
    """Return the name of the directory, within that of a tablespace, that takes a checkpoint's part of it."""
    return f"holdfast-checkpoint-{checkpoint_id[:SHORT]}"


def read_checkpoints(state: StateDirectory) -> list[Checkpoint]:
    """Return the checkpoints of a service, oldest first."""
    found = (state.read(name, Checkpoint) for name in state.names(_RECORDS))
    return sorted((each for each in found if each), key=lambda each: each.number)


def next_number(state: StateDirectory) -> int:
    """Return the number of the next checkpoint of a service; call it with the state locked."""
    return max((each.number for each in read_checkpoints(state)), default=0) + 1


def record_path(state: StateDirectory, checkpoint_id: str) -> Path:
    """Return where the record of a checkpoint is."""
    return state.path / _record_name(checkpoint_id)


def choose_checkpoint(state: StateDirectory, asked: str | None) -> Checkpoint:
    """Return the checkpoint whose id begins with ``asked``, None: the newest; UsageError when there is not just one."""
    checkpoints = read_checkpoints(state)
    if not checkpoints:
        raise UsageError(
            "there is no checkpoint of this service", hint="a restore in place makes one: holdfast restore SERVICE"
        )
    if asked is None:
        return checkpoints[-1]
    found = [each for each in checkpoints if asked and each.id.startswith(asked)]
    if len(found) != 1:
        raise UsageError(
            f"there {'are several checkpoints' if found else 'is no checkpoint'} {asked!r} of this service",
            hint=f"there are: {', '.join(each.short_id for each in checkpoints)}",
        )
    return found[0]


def record_checkpoint(state: StateDirectory, checkpoint: Checkpoint) -> None:
    """Write a checkpoint's record."""
    state.write(_record_name(checkpoint.id), checkpoint)


def forget_checkpoint(state: StateDirectory, checkpoint_id: str) -> None:
    """Remove a checkpoint's record; its directories are in service again, or gone."""
    state.remove(_record_name(checkpoint_id))


def require_usable(checkpoint: Checkpoint) -> None:
    """Raise HoldfastError unless a checkpoint can be put back."""
    if checkpoint.is_dropping:
        raise HoldfastError(
            f"the deletion of checkpoint {checkpoint.short_id} has begun", hint="finish it with --drop-checkpoint"
        )
    missing = [str(place) for place in checkpoint.parked.places if not place.is_dir()]
    if missing:
        raise HoldfastError(
            f"checkpoint {checkpoint.short_id} is not whole: {missing[0]} is not there",
            hint="if it was moved, move it back; if it is lost, forget the checkpoint with --drop-checkpoint",
        )


def drop_checkpoint(state: StateDirectory, checkpoint: Checkpoint) -> None:
    """Delete a checkpoint; one whose deletion was broken off is deleted to the end.

    Raises HoldfastError when something in it cannot be deleted; its record stays then.
    """
    record_checkpoint(state, msgspec.structs.replace(checkpoint, is_dropping=True))
    crashpoint.reach(CrashPoint.DROP_BEGUN)
    delete_parked(checkpoint.parked)
    crashpoint.reach(CrashPoint.DROP_DELETED)
    forget_checkpoint(state, checkpoint.id)


def delete_parked(parked: Parked) -> None:
    """Delete the directories of what is not in service; symbolic links are not followed, other names are refused."""
    for place in parked.places:
        if ".holdfast-" not in f".{place.name}":
            raise HoldfastError(f"{place} has no name that Holdfast gives, and is not deleted")
        if not os.path.lexists(place):
            continue
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise HoldfastError(
                f"cannot delete {error.filename}: {reason_of(error)}",
                hint="run as the owner of the data directory or as root",
            ) from error
        sync_directory(Path(place).parent)


def _record_name(checkpoint_id: str) -> str:
    return f"{_RECORDS}/{checkpoint_id}.json"
