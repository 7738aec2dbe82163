"""WAL to look into that lies in plain files, and the transactions of an interval one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.postgres.segment import is_segment_name, parse_segment_name
from holdfast.postgres.walpage import read_shape
from holdfast.wal.sources import along

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from holdfast.postgres.segment import Segment
    from holdfast.postgres.timeline import TimelineHistory
    from holdfast.postgres.walxact import TransactionEnd
    from holdfast.wal.find import WalFinder


class DirectorySource:
    """The segment files of a directory such as ``pg_wal``; those that wait to be used again count as well."""

    def __init__(self, directory: Path, history: TimelineHistory) -> None:
        self.history = history
        self._directory = directory
        names = sorted(path.name for path in directory.iterdir() if is_segment_name(path.name))
        sizes = [read_shape((directory / name).read_bytes()).segment_size for name in names[:1]]
        self.segments = along(history, [parse_segment_name(name, size) for size in sizes for name in names])

    def read(self, segment: Segment) -> Iterator[bytes]:
        """Yield the file's content."""
        yield (self._directory / segment.name).read_bytes()


def find_between(finder: WalFinder, begin: datetime, end: datetime) -> Iterator[TransactionEnd]:
    """Yield the transactions that ended at ``begin`` or later and before ``end``, in the order of the WAL."""
    for found in finder.intervals(begin, end):
        yield from finder.rows(found.ends)
