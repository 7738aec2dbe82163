"""WAL that was given up, because the queue was full and the stack file says ``when_full: drop``: never without a trace.

The archive is out of reach at that moment, or the queue would not be full. So the gap is noted in the spool first,
durably, and only then is the segment reported as archived; the record goes into the archive (``<segment>.gap``) with
the next success. If the server still has the segment then, it goes there itself, and there is no gap.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError, VerificationError
from holdfast.model import host_name
from holdfast.postgres.segment import is_segment_name
from holdfast.wal.archive import WalConflictError
from holdfast.wal.names import gap_name
from holdfast.wal.ready import wal_directory
from holdfast.wal.spool import replace_file, spool_error

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.settings import WalSettings
    from holdfast.wal.ship import Shipper
    from holdfast.wal.spool import Spool


class GapRecord(msgspec.Struct, frozen=True):
    """The content of a ``.gap`` file: which segment was given up when (ISO 8601, UTC), where, and why."""

    segment: str
    given_up: str
    host: str
    reason: str


def give_up(spool: Spool, segment: str, cause: HoldfastError) -> None:
    """Note durably that a segment will not be archived; when this returns, the server may be told to go on."""
    record = GapRecord(segment, clock.now().isoformat(timespec="milliseconds"), host_name(), cause.message)
    path = os.path.join(spool.gap_directory, segment)
    if not os.path.exists(path):  # else the server asks again, after a crash of its own or of ours
        replace_file(path, msgspec.json.encode(record), 0o600)
    _sync_directory(spool.gap_directory)
    crashpoint.reach(CrashPoint.PUSH_GAP_NOTED)


def noted_gaps(spool: Spool) -> tuple[str, ...]:
    """Return the segments that were given up and of which the archive does not know yet."""
    try:
        return tuple(sorted(name for name in os.listdir(spool.gap_directory) if is_segment_name(name)))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise spool_error(spool.gap_directory, error) from error


def settle_gaps(settings: WalSettings, archive: WalArchive, shipper: Shipper, spool: Spool) -> tuple[str, ...]:
    """Tell the archive of every noted gap, or close it where the server still has the segment; return the closed."""
    closed = []
    for segment in noted_gaps(spool):
        note = os.path.join(spool.gap_directory, segment)
        if _is_shipped_after_all(shipper, os.path.join(wal_directory(settings.data_directory), segment)):
            closed.append(segment)
        else:
            with open(note, "rb") as file, suppress(WalConflictError):  # told of before, in other words
                archive.push(gap_name(segment), file.read())
        os.unlink(note)
    return tuple(closed)


def _is_shipped_after_all(shipper: Shipper, path: str) -> bool:
    try:
        shipper.ship(path)
    except (ServerError, VerificationError):  # the server has it no more, or has other things under its name
        return False
    return True


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
