"""The beginning of a segment that is not whole in the archive, padded with zeros: recovery reads it to its last byte.

It comes from the pieces that the receiver stored while the segment grew, or from the ``.partial`` that PostgreSQL
archives where a promotion left a timeline; whichever reaches further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import covering, joined, pieces_of

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
    pieces = covering(pieces_of(files, segment.name))
    found = [Beginning(joined(archive, segment, pieces), pieces[-1].end)] if pieces else []
    found += [_from_partial(archive, file.name) for file in files if file.kind is WalFileKind.PARTIAL]
    return max(found, key=lambda beginning: beginning.length_bytes, default=None)


def _from_partial(archive: WalArchive, name: str) -> Beginning:
    content = archive.get(name)
    return Beginning(content, len(content.rstrip(b"\0")))
