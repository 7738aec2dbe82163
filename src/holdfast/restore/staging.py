"""Where a restore in place is staged: beside what is in service, on the same file system, so that a rename suffices.

What stands in the way of a rename is found out before anything is fetched: mount points, a parent directory that may
not be written, another file system.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import PermissionRefusedError, UsageError
from holdfast.restore.checkpoint import SHORT, delete_parked
from holdfast.restore.exchange import Parked
from holdfast.restore.mounts import mount_points
from holdfast.restore.orphans import end_servers

if TYPE_CHECKING:
    from holdfast.restore.state import StateDirectory

_STAGED = "staged.json"


class StagedRestore(msgspec.Struct, frozen=True, kw_only=True):
    """A restore that is, or was, being staged; ``begun`` is ISO 8601 in UTC."""

    id: str
    begun: str
    snapshot: str
    parked: Parked

    @property
    def short_id(self) -> str:
        """The first digits, as people see them."""
        return self.id[:SHORT]


def staging_name(directory: Path, restore_id: str, place: Path | None) -> Path:
    """Return where the new content of ``directory`` is staged: in ``place``, or else beside it."""
    return (place or directory.parent) / f"{directory.name}.holdfast-staging-{restore_id[:SHORT]}"


def staging_part(restore_id: str) -> str:
    """Return the name of the directory, within that of a tablespace, in which its new content is staged."""
    return f"holdfast-staging-{restore_id[:SHORT]}"


def record_staging(state: StateDirectory, staged: StagedRestore) -> None:
    """Remember what is being staged, so that a later run can remove it if this one is cut off."""
    state.write(_STAGED, staged)


def forget_staging(state: StateDirectory) -> None:
    """Forget what was staged: it is in service, or deleted."""
    state.remove(_STAGED)


def record_path(state: StateDirectory) -> Path:
    """Return where it is remembered what is staged."""
    return state.path / _STAGED


def abandoned_staging(state: StateDirectory) -> StagedRestore | None:
    """Return what an earlier run staged and did not bring into service; call it with the state locked."""
    return state.read(_STAGED, StagedRestore)


def delete_staging(state: StateDirectory, staged: StagedRestore) -> None:
    """Delete what was staged, and forget it; a server that a killed run left in it is ended first."""
    end_servers(Path(os.path.realpath(staged.parked.directory)))
    delete_parked(staged.parked)
    forget_staging(state)


def require_exchangeable(directory: Path, place: Path | None) -> None:
    """Raise UsageError or PermissionRefusedError unless ``directory`` can be exchanged by rename.

    ``directory`` is resolved, and need not exist; ``place`` is where its new content is staged, None for beside it.
    """
    mounts = mount_points()
    if directory in mounts:
        raise UsageError(
            f"{directory} is a mount point, which cannot be renamed",
            hint="keep the data directory in a directory below the mount point; "
            "or stop the server and restore with --target to a new directory of that file system",
        )
    inside = next((mount for mount in mounts if mount.is_relative_to(directory)), None)
    if inside is not None:
        raise UsageError(
            f"{inside} is a mount point inside {directory}: it would not change hands with it",
            hint="restore with --target to a new directory, and mount it there yourself",
        )
    _require_writable(directory.parent)
    if place is not None:
        _require_same_file_system(directory.parent, place)


def _require_writable(parent: Path) -> None:
    if not parent.is_dir():
        raise UsageError(f"{parent} does not exist", hint="make it, with the owner and the mode that it should have")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionRefusedError(
            f"no permission to rename what is in {parent}",
            hint="run as root, or as an account that may write to this directory",
        )


def _require_same_file_system(parent: Path, place: Path) -> None:
    if not place.is_dir():
        raise UsageError(f"the staging directory {place} does not exist", hint="make it, or leave 'staging' away")
    if place.stat().st_dev != parent.stat().st_dev:
        raise UsageError(
            f"the staging directory {place} is on another file system than {parent}",
            hint="choose one on the same file system, or leave 'staging' away to stage beside the data directory",
        )
    _require_writable(place)
