"""The beginning of a segment that is not whole in the archive, padded with zeros: recovery reads it to its last byte.

It comes from the pieces that the receiver stored while the segment grew, or from the ``.partial`` that PostgreSQL
archives where a promotion left a timeline; whichever reaches further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.wal.names import WalFileKind, piece_range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.postgres.segment import Segment
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile


@dataclass(frozen=True, slots=True)
class Beginning:
    """A segment's content of full length, of which ``length_bytes`` are known and the rest is zeros."""

    content: bytearray
    length_bytes: int


def read_beginning(archive: WalArchive, segment: Segment, listed: Iterable[ArchivedFile]) -> Beginning | None:
    """Return what a listing has of a segment; None where that is nothing. DamageError.

    NotFoundError when a piece is gone since the listing: then the segment is whole now.
    """
    files = [file for file in listed if file.segment_name == segment.name]
    pieces = _in_order(file.name for file in files if file.kind is WalFileKind.PIECE)
    found = [_from_pieces(archive, segment, pieces)] if pieces else []
    found += [_from_partial(archive, file.name) for file in files if file.kind is WalFileKind.PARTIAL]
    return max(found, key=lambda beginning: beginning.length_bytes, default=None)


def _in_order(names: Iterable[str]) -> list[str]:
    """Return the pieces that cover the segment from its first byte on, without a hole."""
    chosen: list[str] = []
    covered = 0
    for name in sorted(names, key=piece_range):
        begin, end = piece_range(name)
        if begin <= covered < end:
            chosen.append(name)
            covered = end
    return chosen


def _from_pieces(archive: WalArchive, segment: Segment, names: list[str]) -> Beginning:
    content, length = bytearray(segment.size_bytes), 0
    for name in names:
        begin, end = piece_range(name)
        content[begin:end] = archive.get(name)
        length = end
    return Beginning(content, length)


def _from_partial(archive: WalArchive, name: str) -> Beginning:
    content = archive.get(name)
    return Beginning(content, len(content.rstrip(b"\0")))
