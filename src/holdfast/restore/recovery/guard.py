"""Keeps recovery from writing into tablespaces of the cluster that it came from, where that runs on this machine.

A tablespace that was made after the snapshot comes back from the WAL, at the path where it was made; and in recovery
PostgreSQL takes a directory that another cluster uses. So each segment is looked through before it is handed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import TargetNotReachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.waltablespace import made_tablespaces
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import WalFileKind, kind_of

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository

_WHOLE_FROM_THE_FIRST_PAGE = {WalFileKind.SEGMENT, WalFileKind.PARTIAL}
_PAGE_ADDRESS = slice(8, 16)
"""``xlp_pageaddr`` in ``src/include/access/xlog_internal.h``."""


class GuardedArchive(WalArchive):
    """The archive, for a recovery that replays no record from ``until`` on."""

    def __init__(self, repository: Repository, system_identifier: str, until: Lsn) -> None:
        super().__init__(repository.storage, repository.keys, system_identifier)
        self._until = until

    def get(self, name: str) -> bytearray:
        """Return a file. TargetNotReachableError for one that makes a tablespace in a directory that is not empty."""
        content = super().get(name)
        if kind_of(name) in _WHOLE_FROM_THE_FIRST_PAGE:
            start = Lsn(int.from_bytes(content[_PAGE_ADDRESS], "little"))
            for made in made_tablespaces(content, start):
                if made.lsn < self._until and made.location and _is_in_use(Path(made.location)):
                    raise TargetNotReachableError(
                        f"at {made.lsn} a tablespace was made in {made.location}, which is in use on this machine",
                        hint="begin from a snapshot after it, choose a target before it, or recover on another machine",
                    )
        return content


def _is_in_use(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
