"""The WAL that a snapshot carries, from its start to its stop: taken from ``pg_wal`` while a slot keeps it there."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.errors import ServerError, VerificationError
from holdfast.repository.compression import ContentClass
from holdfast.repository.sources import FileSource
from holdfast.services.filesystem import make_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment

# XLogLongPageHeaderData (src/include/access/xlog_internal.h): magic, flags, timeline, page address, remaining length,
# system identifier, segment size, block size.
_LONG_HEADER = struct.Struct("<HHIQI4xQII")
_HAS_LONG_HEADER = 0x0002
_PAGE_ADDRESS_WORD = 1
"""Every page's header has the page's address at byte 8 (``xlp_pageaddr``)."""
_LOOK_AT_DISK = "run the backup again; if it stays so, the disk or the file system of pg_wal is at fault"


@dataclass(frozen=True, slots=True)
class WalRange:
    """The WAL of one backup: its segments, in order, start and exclusive stop, the size of a page, and whose it is."""

    segments: Sequence[Segment]
    start: Lsn
    stop: Lsn
    block_size: int
    system_identifier: int


def wal_sources(data_directory: bytes, wal: WalRange) -> list[FileSource]:
    """Return the files of the segments, each verified to be this cluster's and to have every page from start to stop.

    Raises ServerError when one is not there, VerificationError when one lacks WAL: without it the snapshot could not
    be restored.
    """
    return [_segment_source(data_directory, segment, wal) for segment in wal.segments]


def history_sources(data_directory: bytes, timeline_hex: str) -> Iterator[FileSource]:
    """Yield the history file of the timeline, where there is one (the first timeline has none)."""
    path = b"pg_wal/" + timeline_hex.encode("ascii") + b".history"
    absolute = os.path.join(data_directory, path)
    if os.path.exists(absolute):
        entry = make_entry(path, absolute, os.stat(absolute))
        if entry is not None:
            yield FileSource(entry, absolute, ContentClass.FILE)


def _segment_source(data_directory: bytes, segment: Segment, wal: WalRange) -> FileSource:
    path = b"pg_wal/" + segment.name.encode("ascii")
    absolute = os.path.join(data_directory, path)
    try:
        with open(absolute, "rb") as file:
            header = file.read(_LONG_HEADER.size)
        entry = make_entry(path, absolute, os.stat(absolute))
    except FileNotFoundError:
        raise ServerError(
            f"WAL segment {segment.name} is gone from pg_wal before it was captured",
            hint="the snapshot would not be restorable; run the backup again, and look who removes WAL",
        ) from None
    _require_header(header, segment, wal.system_identifier)
    if entry is None or entry.size != segment.size_bytes:
        raise VerificationError(f"WAL segment {segment.name} is not {segment.size_bytes} bytes long")
    _require_pages(absolute, segment, wal)
    return FileSource(entry, absolute, ContentClass.WAL)


def _require_header(header: bytes, segment: Segment, system_identifier: int) -> None:
    """Raise when a file does not hold the segment that its name says (pg_wal holds recycled files, too)."""
    if len(header) == _LONG_HEADER.size:
        _, flags, _, address, _, found_identifier, segment_size, _ = _LONG_HEADER.unpack(header)
        if flags & _HAS_LONG_HEADER and (address, found_identifier, segment_size) == (
            segment.start,
            system_identifier,
            segment.size_bytes,
        ):
            return
    raise VerificationError(
        f"WAL segment {segment.name} in pg_wal does not hold the WAL that its name says", hint=_LOOK_AT_DISK
    )


def _require_pages(absolute: bytes, segment: Segment, wal: WalRange) -> None:
    """Raise unless every page from start to stop says that it is of its position: a recreated file has holes.

    Before the start there may be some: a standby receives the first segment of a timeline only from the switch on. And
    what follows a switch to the next segment is zeros (since 11, ``CopyXLogRecordToWAL`` in xlog.c).
    """
    first = max(0, wal.start - segment.start) // wal.block_size
    end = -(-min(segment.size_bytes, wal.stop - segment.start) // wal.block_size)
    words = np.memmap(absolute, dtype="<u8", mode="r", shape=(segment.size_bytes // 8,))
    said = words[_PAGE_ADDRESS_WORD :: wal.block_size // 8][first:end]
    expected = np.arange(first, end, dtype=np.uint64) * np.uint64(wal.block_size) + np.uint64(segment.start)
    used = int(np.flatnonzero(said)[-1]) + 1 if said.any() else 0
    wrong = np.flatnonzero((said != expected)[:used])
    if len(wrong):
        offset = (first + int(wrong[0])) * wal.block_size
        raise VerificationError(
            f"WAL segment {segment.name} in pg_wal lacks the WAL at offset {offset}", hint=_LOOK_AT_DISK
        )
