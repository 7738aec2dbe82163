"""One WAL file on its way into the archive: read, judged, stored, and only then acknowledged."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import VerificationError
from holdfast.wal.archive import Pushed
from holdfast.wal.reading import read_wal_file
from holdfast.wal.ready import is_archived
from holdfast.wal.validate import CheckedContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.wal.archive import WalArchive
    from holdfast.wal.reading import WalFile
    from holdfast.wal.settings import WalSettings
    from holdfast.wal.spool import Spool


class Shipped(msgspec.Struct, frozen=True):
    """A file that is durable in the archive; ``modified_ns`` is its time when it was read."""

    name: str
    size_bytes: int
    modified_ns: int
    outcome: Pushed


class Shipper:
    """Ships files of one cluster into its archive. May be used from many threads."""

    def __init__(
        self,
        settings: WalSettings,
        archive: WalArchive,
        spool: Spool,
        read: Callable[[str, int], WalFile] = read_wal_file,
    ) -> None:
        """``read`` opens a path, with the size of a segment; a cold push has begun with that before."""
        self._settings, self._archive, self._spool, self._read = settings, archive, spool, read

    def ship(self, path: str) -> Shipped:
        """Return when the file is durable in the archive.

        Raises VerificationError for what is not a WAL file of this cluster, WalConflictError when the archive holds
        other bytes under its name, StorageError, and ServerError when it cannot be read.
        """
        name = os.path.basename(path)
        if not is_archived(name):
            raise VerificationError(f"not a WAL file: {path}", hint="archive_command gives the path as %p")
        settings = self._settings
        with closing(self._read(path, settings.segment_size)) as file:
            crashpoint.reach(CrashPoint.PUSH_READ)
            checked = CheckedContent(name, file, settings.system_identifier, settings.segment_size)
            outcome = self._archive.push_content(name, checked)
            crashpoint.reach(CrashPoint.PUSH_STORED)
            return Shipped(name, file.length_bytes, file.modified_ns, outcome)

    def ship_ahead(self, path: str) -> Shipped:
        """Ship a file that the server will ask for, and leave the acknowledgement that answers it."""
        shipped = self.ship(path)
        self._spool.acknowledge(shipped.name, shipped.modified_ns)
        crashpoint.reach(CrashPoint.PUSH_ACKNOWLEDGED)
        return shipped
