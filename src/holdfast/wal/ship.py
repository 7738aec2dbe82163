"""One WAL file on its way into the archive: read, judged, stored, and only then acknowledged."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError, VerificationError
from holdfast.wal.ready import is_archived
from holdfast.wal.validate import require_wal_file

if TYPE_CHECKING:
    from holdfast.wal.archive import Pushed, WalArchive
    from holdfast.wal.settings import WalSettings
    from holdfast.wal.spool import Spool

# O_NONBLOCK: a FIFO that somebody put there is refused, not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_TEXT_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that is durable in the archive; ``modified_ns`` is its time when it was read."""

    name: str
    size_bytes: int
    modified_ns: int
    outcome: Pushed


class Shipper:
    """Ships files of one cluster into its archive. May be used from many threads."""

    def __init__(self, settings: WalSettings, archive: WalArchive, spool: Spool) -> None:
        self._settings, self._archive, self._spool = settings, archive, spool

    def ship(self, path: str) -> Shipped:
        """Return when the file is durable in the archive.

        Raises VerificationError for what is not a WAL file of this cluster, WalConflictError when the archive holds
        other bytes under its name, StorageError, and ServerError when it cannot be read.
        """
        name = os.path.basename(path)
        if not is_archived(name):
            raise VerificationError(f"not a WAL file: {path}", hint="archive_command gives the path as %p")
        modified_ns, content = read_wal_file(path, self._settings.segment_size)
        crashpoint.reach(CrashPoint.PUSH_READ)
        require_wal_file(name, content, self._settings.system_identifier, self._settings.segment_size)
        outcome = self._archive.push(name, content)
        crashpoint.reach(CrashPoint.PUSH_STORED)
        return Shipped(name, len(content), modified_ns, outcome)

    def ship_ahead(self, path: str) -> Shipped:
        """Ship a file that the server will ask for, and leave the acknowledgement that answers it."""
        shipped = self.ship(path)
        self._spool.acknowledge(shipped.name, shipped.modified_ns)
        crashpoint.reach(CrashPoint.PUSH_ACKNOWLEDGED)
        return shipped


def read_wal_file(path: str, segment_size: int) -> tuple[int, bytes]:
    """Return (modification time in ns, content); ServerError when it cannot be read, VerificationError if too long."""
    try:
        descriptor = os.open(path, _READ)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise VerificationError(f"{path} is not a regular file")
            if found.st_size > max(segment_size, _TEXT_LIMIT_BYTES):
                raise VerificationError(
                    f"{path} is {found.st_size} bytes long, and segments have {segment_size}",
                    hint="if the cluster was made anew with another segment size, run 'holdfast wal setup' again",
                )
            return found.st_mtime_ns, _read_all(descriptor, found.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise ServerError(f"cannot read {path}: {reason}", hint="run as the owner of the cluster") from error


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    content = os.read(descriptor, size_bytes)
    while len(content) < size_bytes and (part := os.read(descriptor, size_bytes - len(content))):
        content += part  # one read gives 2 GiB at most, or less when a signal interrupts it
    return content
