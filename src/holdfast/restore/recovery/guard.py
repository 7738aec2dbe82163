"""Keeps recovery from writing into tablespaces of the cluster that it came from, where that runs on this machine.

A tablespace that was made after the snapshot comes back from the WAL, at the path where it was made; and in recovery
PostgreSQL takes a directory that another cluster uses. So all WAL is looked through before it is handed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import TargetNotReachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walpage import read_shape
from holdfast.postgres.waltablespace import TablespaceSearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.postgres.waltablespace import MadeTablespace
    from holdfast.storage.base import Buffer

_PAGE_ADDRESS = slice(8, 16)
"""``xlp_pageaddr`` in ``src/include/access/xlog_internal.h``."""


class TablespaceGuard:
    """For one recovery, which replays the records from ``begin`` on, and none from ``until`` on. For many threads."""

    def __init__(self, begin: Lsn, until: Lsn) -> None:
        self._begin, self._until = begin, until
        self._search = TablespaceSearch()

    def inspected(self, parts: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yield a segment's parts, each of whole pages; segments may come in any order.

        TargetNotReachableError for one that makes a tablespace in a directory that is not empty, or makes such a record
        whole.
        """
        shape, at = None, Lsn(0)
        for part in parts:
            if shape is None:
                shape, at = read_shape(memoryview(part)), Lsn(int.from_bytes(part[_PAGE_ADDRESS], "little"))
            for made in self._search.look(shape, memoryview(part), at):
                self._require_vacant(made)
            at += len(part)
            yield part

    def _require_vacant(self, made: MadeTablespace) -> None:
        if self._begin <= made.lsn < self._until and made.location and _is_in_use(Path(made.location)):
            raise TargetNotReachableError(
                f"at {made.lsn} a tablespace was made in {made.location}, which is in use on this machine",
                hint="begin from a snapshot after it, choose a target before it, or recover on another machine",
            )


def _is_in_use(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
