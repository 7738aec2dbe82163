"""The direct push: the file that ``archive_command`` asks for, and a bounded batch of those that will follow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.errors import HoldfastError, NoRepositoryError, ServerError, StorageError
from holdfast.postgres.segment import is_segment_name
from holdfast.wal.ownership import require_own
from holdfast.wal.queue import PushStateFile, Standing, queue_of, unanswered_files
from holdfast.wal.reading import read_wal_file
from holdfast.wal.ready import wal_directory
from holdfast.wal.settings import WalSettings, WhenFull
from holdfast.wal.ship import Shipped, Shipper
from holdfast.wal.spool import Spool
from holdfast.wal.surrender import give_up, noted_gaps, settle_gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.wal.archive import WalArchive
    from holdfast.wal.reading import WalFile

BATCH_FILES = 64
_BATCH_S = 3.0
_BY = "push"
_NEW_BASE = "recovery cannot cross the gap: run 'holdfast backup' as soon as the repository is back"


class Connector(Protocol):
    """Opens the repository that settings name."""

    def __call__(self, settings: WalSettings) -> WalArchive:
        """Return its archive; NoRepositoryError, VerificationError (it is another repository), StorageError."""
        ...


class PushResult(msgspec.Struct, frozen=True):
    """What a push came to: the file (None: it was given up), how many more went ahead, and what must be heard."""

    shipped: Shipped | None
    ahead: int
    warnings: tuple[str, ...]


def push(
    settings: WalSettings, path: str, connect: Connector, read: Callable[[str, int], WalFile] = read_wal_file
) -> PushResult:
    """Store a file durably and return; the next ones in the queue go with it where there are any.

    Raises what ``Shipper.ship`` does, and HoldfastError when this cluster may not be archived. With ``when_full: drop``
    a segment that the storage keeps from being archived while the queue is full is given up, with a note.
    """
    require_own(path, settings.data_directory)
    spool = Spool(settings.spool, settings.repository_id)
    name = os.path.basename(path)
    try:
        archive = connect(settings)
        shipped = Shipper(settings, archive, spool, read).ship(path)
    except HoldfastError as error:
        return _answer_failure(settings, spool, name, error)
    waiting = _waiting(settings, spool, but=name)
    ahead = _push_ahead(settings, spool, archive, waiting) if waiting else 0
    warnings = _settle(settings, spool, archive)
    if ahead:
        waiting = _waiting(settings, spool, but=name)
    standing = _standing(settings, spool, waiting)
    if standing.is_full:
        warnings += (f"the queue is full: {standing.queue}",)
    PushStateFile(settings.spool, _BY).tell_success(name, standing)
    spool.clean(wal_directory(settings.data_directory))
    return PushResult(shipped, ahead, warnings)


def _push_ahead(settings: WalSettings, spool: Spool, archive: WalArchive, waiting: list[str]) -> int:
    """Ship some of what waits; what goes wrong here will be said when the server asks for that file.

    Not beside a resident process: it has begun with the very same files, and each would be compressed twice.
    """
    from holdfast.wal.ahead import Batch, threads_for, within  # costs who has nothing waiting a millisecond
    from holdfast.wal.resident import is_served

    if is_served(settings.spool):
        return 0
    batch = Batch(Shipper(settings, archive, spool), threads_for(settings))
    try:
        batch.ship(within(waiting[:BATCH_FILES], _BATCH_S))
    except StorageError:
        return 0
    return len(batch.shipped)


def _answer_failure(settings: WalSettings, spool: Spool, name: str, error: HoldfastError) -> PushResult:
    """Raise the error, or give the segment up where the stack file says so."""
    standing = _standing(settings, spool, _waiting(settings, spool))
    is_unreachable = isinstance(error, StorageError | NoRepositoryError)
    drops = standing.is_full and is_unreachable and settings.when_full is WhenFull.DROP and is_segment_name(name)
    if drops:
        give_up(spool, name, error)
        standing = _standing(settings, spool, _waiting(settings, spool, but=name))
    PushStateFile(settings.spool, _BY).tell_failure(name, error, standing)
    if drops:
        lost = f"GAVE UP {name}, as the queue is full and the stack file says so: {error.message}; {_NEW_BASE}"
        return PushResult(None, 0, (lost,))
    if standing.is_full:
        error.details += (f"the queue is full: {standing.queue}",)
    raise error


def _settle(settings: WalSettings, spool: Spool, archive: WalArchive) -> tuple[str, ...]:
    noted = noted_gaps(spool)
    if not noted:
        return ()
    try:
        closed = settle_gaps(settings, archive, Shipper(settings, archive, spool), spool)
    except StorageError as error:
        return (f"the gap records could not be stored: {error.message}",)
    return tuple(
        f"{name} had been given up, and is in the archive after all" if name in closed else f"gap: {name}; {_NEW_BASE}"
        for name in noted
    )


def _waiting(settings: WalSettings, spool: Spool, *, but: str = "") -> list[str] | None:
    """Return the paths of what waits; None where that cannot be listed: the push itself is what counts."""
    try:
        return [path for path in unanswered_files(settings, spool) if os.path.basename(path) != but]
    except ServerError:
        return None


def _standing(settings: WalSettings, spool: Spool, waiting: list[str] | None) -> Standing:
    return Standing(None if waiting is None else queue_of(settings, waiting), noted_gaps(spool))
