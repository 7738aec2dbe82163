"""A ``pg_wal`` that is a link to another disk: the WAL stays there when the cluster around it changes.

What is staged has its WAL within the data directory, like any restored cluster. Once it is proven, that is moved beside
the directory in service, on the same disk; from there it takes part in the exchange, as tablespaces do.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, PermissionRefusedError, UsageError
from holdfast.postgres.account import server_account
from holdfast.restore import staging
from holdfast.restore.checkpoint import checkpoint_name
from holdfast.restore.durable import sync_directory, sync_file_systems
from holdfast.restore.exchange import Outside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.services.postgres.live import LiveCluster

_LINK = "pg_wal"


def wal_home(live: LiveCluster) -> Path | None:
    """Return where the cluster in service keeps its WAL, if that is elsewhere and can be exchanged there by rename."""
    link = live.directory / _LINK
    if not link.is_symlink():
        return None
    home = Path(os.readlink(link))
    if not home.is_absolute() or home.is_symlink() or not home.is_dir():
        return None
    try:
        staging.require_exchangeable(home, None)
    except (UsageError, PermissionRefusedError):
        return None
    return home


def wal_note(live: LiveCluster) -> str | None:
    """Return what the operator should know of a ``pg_wal`` that is a link; None where it is none."""
    link = live.directory / _LINK
    if not link.is_symlink():
        return None
    if (home := wal_home(live)) is not None:
        return f"pg_wal stays on its disk: {home}"
    return (
        f"pg_wal is a link to {link.readlink()}, which cannot be exchanged by rename (a mount point, no directory, or "
        "no permission beside it), so the restored cluster has its WAL in the data directory; to have it there again: "
        "stop the server then, move pg_wal into an empty directory of that disk, and link to it"
    )


def staged_wal(home: Path, restore_id: str) -> Outside:
    """Return the WAL of a staged cluster, as ``move_wal`` leaves it."""
    return _outside(home, staging.staging_name(home, restore_id, None))


def outgoing_wal(live: LiveCluster, checkpoint_id: str, expected: Sequence[Path] = ()) -> list[Outside]:
    """Return the WAL of what is in service, as it will be parked.

    ``expected`` is where incoming WAL belongs: what lies there makes room, also where a damaged cluster lost its link.
    """
    home = wal_home(live)
    linked = [_outside(home, checkpoint_name(home, checkpoint_id))] if home else []
    lost = [each for each in expected if each != home and os.path.lexists(each)]
    return linked + [
        Outside(
            link="lost/pg_wal",
            home=str(each),
            parked=str(checkpoint_name(each, checkpoint_id)),
            names=(),
            is_linked=False,
        )
        for each in lost
    ]


def is_wal(outside: Outside) -> bool:
    """Whether something outside of a data directory is its WAL, and no tablespace."""
    return not outside.names


def move_wal(data_directory: Path, wal: Outside) -> None:
    """Move the WAL of a stopped, staged cluster to where it is parked, durably, and link to it.

    HoldfastError when that fails; what is there by then is the caller's to delete.
    """
    source, destination = data_directory / _LINK, Path(wal.parked)
    try:
        shutil.copytree(source, destination, symlinks=True)
        account = server_account(data_directory)
        for path in (destination, *destination.rglob("*")):
            account.take_over(path)
        sync_file_systems([destination])
        shutil.rmtree(source)
        source.symlink_to(destination)
        if os.geteuid() == 0:
            os.lchown(source, account.uid, account.gid)
        sync_directory(data_directory)
    except (OSError, shutil.Error) as error:
        raise HoldfastError(
            f"the WAL could not be moved to {destination}: {error}",
            hint="look at the room and the permissions of its disk, then run the same command again",
        ) from error


def _outside(home: Path, parked: Path) -> Outside:
    return Outside(link=_LINK, home=str(home), parked=str(parked), names=())
