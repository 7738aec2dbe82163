"""The beginning of a segment that is not whole in the archive, padded with zeros: recovery reads it to its last byte.

It comes from the pieces that the receiver stored while the segment grew, or from the ``.partial`` that PostgreSQL
archives where a promotion left a timeline; whichever reaches further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.repository.walframes import FRAME_BYTES
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import JoinedPieces, covering, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.postgres.segment import Segment
    from holdfast.repository.walframes import Content
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile


@dataclass(frozen=True, slots=True)
class Beginning:
    """A segment's content of full length, of which ``length_bytes`` are known and the rest is zeros."""

    content: Content
    length_bytes: int


def find_beginning(archive: WalArchive, segment: Segment, listed: Iterable[ArchivedFile]) -> Beginning | None:
    """Return what a listing has of a segment; None where that is nothing. DamageError.

    Going through the content raises NotFoundError when a piece is gone since the listing: then the segment is whole.
    """
    files = [file for file in listed if file.segment_name == segment.name]
    pieces = covering(pieces_of(files, segment.name))
    found = [Beginning(JoinedPieces(archive, segment, pieces), pieces[-1].end)] if pieces else []
    found += [_in_partial(archive, segment, file.name) for file in files if file.kind is WalFileKind.PARTIAL]
    return max(found, key=lambda beginning: beginning.length_bytes, default=None)


def _in_partial(archive: WalArchive, segment: Segment, name: str) -> Beginning:
    """Find out by going through it how much of it is not zeros."""
    content = archive.open(name, segment.size_bytes)
    length_bytes = 0
    for number, frame in enumerate(content.frames()):
        if known_bytes := len(bytes(frame).rstrip(b"\0")):
            length_bytes = number * FRAME_BYTES + known_bytes
    return Beginning(content, length_bytes)
