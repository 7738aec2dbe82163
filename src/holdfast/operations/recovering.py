"""Recover a restored cluster to a target: planned and proven first, then replayed, verified, and ended as asked.

Three ways in, for whoever restores: ``recover`` does it all and leaves the directory as the target's action says;
``recovered`` yields the server halted at the verified target, to read from (a dump) or to promote and examine (a
staged restore).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.operations.restore import PreparedRestore, RestoreRequest
    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.archive import WalArchive


@dataclass(frozen=True)
class RecoveryRequest:
    """What a user asks for: where the files go, and where recovery is to end.

    ``restore.snapshot`` "latest" means the newest complete snapshot from which the target can be reached.
    """

    restore: RestoreRequest
    target: RecoveryTarget


@dataclass(frozen=True)
class PreparedRecovery:
    """A recovery that is planned and proven possible: the restore of the chosen snapshot, and the WAL from there."""

    restore: PreparedRestore
    target: RecoveryTarget
    archive: WalArchive


class RecoveredServer:
    """A running server that halted at its verified target: read-only until it is promoted. Private socket, no TCP."""

    reached: Reached

    def conninfo(self, *, user: str = "postgres", dbname: str = "postgres") -> str:
        """Return the connection string; any role may connect, without a password."""
        raise NotImplementedError

    def promote(self) -> Timeline:
        """End recovery, wait until the server writes, and return its new timeline; archiving stays off."""
        raise NotImplementedError


def prepare_recovery(stack: Stack, request: RecoveryRequest) -> PreparedRecovery:
    """Choose the snapshot, prove that all WAL up to the target is there, and plan the restore; nothing is written.

    Raises TargetNotReachableError with the usable window, and whatever ``prepare_restore`` refuses.
    """
    raise NotImplementedError


@contextmanager
def recovered(prepared: PreparedRecovery, data_directory: Path, reporter: Reporter) -> Iterator[RecoveredServer]:
    """Recover the files in ``data_directory`` (restored by ``operations.restore.restore``) and yield the server.

    The server is stopped when the block ends, in order when it was promoted. The directory then starts plainly,
    if it was promoted; if not, it is in recovery still. Raises TargetNotReachableError, with how far it came, when
    the server did not reach the target; the server is stopped then.
    """
    raise NotImplementedError
    yield


def recover(prepared: PreparedRecovery, data_directory: Path, reporter: Reporter) -> Reached:
    """Recover the files in ``data_directory`` and end as the target's action says; return what was reached.

    PROMOTE: promoted and stopped in order; starts plainly. SHUTDOWN: stopped, still in recovery. PAUSE: left running.
    """
    raise NotImplementedError
