"""The beginning of a segment that is not whole in the archive, padded with zeros: recovery reads it to its last byte.

It comes from the pieces that the receiver stored while the segment grew, or from the ``.partial`` that PostgreSQL
archives where a promotion left a timeline; whichever reaches further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import DamageError
from holdfast.wal.names import WalFileKind, object_name
from holdfast.wal.pieces import covering, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.postgres.segment import Segment
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile
    from holdfast.wal.pieces import Piece


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
    found = [_from_pieces(archive, segment, pieces)] if pieces else []
    found += [_from_partial(archive, file.name) for file in files if file.kind is WalFileKind.PARTIAL]
    return max(found, key=lambda beginning: beginning.length_bytes, default=None)


def _from_pieces(archive: WalArchive, segment: Segment, pieces: Sequence[Piece]) -> Beginning:
    content = bytearray(segment.size_bytes)
    for piece in pieces:
        name = piece.name(segment.name)
        part = archive.get(name)
        if len(part) != piece.length or piece.end > segment.size_bytes:
            place = object_name(archive.system_identifier, name)
            raise DamageError(place, f"it holds {len(part)} bytes, and its name says {piece.length}")
        content[piece.begin : piece.end] = part
    return Beginning(content, pieces[-1].end)


def _from_partial(archive: WalArchive, name: str) -> Beginning:
    content = archive.get(name)
    return Beginning(content, len(content.rstrip(b"\0")))
