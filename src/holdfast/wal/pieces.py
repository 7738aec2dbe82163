"""Pieces: the parts of a segment that the receiver stored while the segment still grew, and how they make it up again.

A piece is named by its bytes, ``[begin, end)`` within the segment, and may overlap others: small ones are absorbed by
the next, and deleted when that is durable. Once the whole segment is stored its pieces are of no more use. What a
killed receiver left behind is either needed or superseded; both can be told from names alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, NotFoundError
from holdfast.wal.names import WalFileKind, object_name, piece_name, piece_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.postgres.segment import Segment
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile

_ATTEMPTS = 3
"""A receiver at work replaces pieces by larger ones, and all of them by the segment, while they are being read."""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """Bytes ``begin`` to ``end`` (excluded) of a segment."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes it holds."""
        return self.end - self.begin

    def name(self, segment_name: str) -> str:
        """Return its file name in the archive."""
        return piece_name(segment_name, self.begin, self.end)


def pieces_of(files: Iterable[ArchivedFile], segment_name: str) -> list[Piece]:
    """Return the pieces of one segment among the files of a listing."""
    return [
        Piece(*piece_range(file.name))
        for file in files
        if file.kind is WalFileKind.PIECE and file.segment_name == segment_name
    ]


def covering(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the fewest pieces that cover the segment's beginning as far as any do, without a hole; in order."""
    chosen: list[Piece] = []
    reach = 0
    best: Piece | None = None
    for piece in sorted(pieces):
        if piece.begin > reach and best is not None:
            chosen.append(best)
            reach, best = best.end, None
        if piece.begin > reach:
            break
        if piece.end > (best.end if best else reach):
            best = piece
    return [*chosen, best] if best else chosen


def next_piece(stored: Sequence[Piece], end: int, absorb_limit_bytes: int) -> tuple[Piece, list[Piece]]:
    """Return the piece to store up to ``end``, and the stored ones that it makes superfluous.

    It begins where ``stored`` (contiguous, in order) ends, and absorbs the last ones while they are no longer than it
    is and it stays within the limit: so a segment that fills in small steps has few pieces at any time, and each byte
    is stored a few times only.
    """
    keep = list(stored)
    begin = keep[-1].end if keep else 0
    absorbed: list[Piece] = []
    while keep and keep[-1].length <= end - begin and end - keep[-1].begin <= absorb_limit_bytes:
        absorbed.append(keep.pop())
        begin = absorbed[-1].begin
    return Piece(begin, end), absorbed


def superseded(files: Sequence[ArchivedFile]) -> Iterator[str]:
    """Yield the names of pieces that are of no use: their segment is whole, or a longer piece holds their bytes."""
    whole = {file.name for file in files if file.kind is WalFileKind.SEGMENT}
    by_segment: dict[str, list[Piece]] = {}
    for file in files:
        if file.kind is WalFileKind.PIECE:
            by_segment.setdefault(file.segment_name, []).append(Piece(*piece_range(file.name)))
    for segment_name, pieces in by_segment.items():
        needed: set[Piece] = set() if segment_name in whole else _without_contained(pieces)
        yield from (piece.name(segment_name) for piece in sorted(pieces) if piece not in needed)


def assemble(archive: WalArchive, segment: Segment) -> bytearray | None:
    """Return a segment put together from its pieces, zeros behind the last of them; None when its start is not there.

    When the whole segment took the place of the pieces meanwhile, that is returned. DamageError, KeyRefusedError as
    of ``WalArchive.get``.
    """
    for attempt in range(_ATTEMPTS):
        files = [file for file in archive.list(segment.timeline) if file.segment_name == segment.name]
        try:
            if attempt and any(file.kind is WalFileKind.SEGMENT for file in files):
                return archive.get(segment.name)
            pieces = covering(pieces_of(files, segment.name))
            return joined(archive, segment, pieces) if pieces else None
        except NotFoundError:  # replaced while we were reading
            continue
    return None


def joined(archive: WalArchive, segment: Segment, pieces: Sequence[Piece]) -> bytearray:
    """Return a segment from its pieces, zeros where there is none. NotFoundError when one is gone; DamageError."""
    content = bytearray(segment.size_bytes)
    for piece in pieces:
        name = piece.name(segment.name)
        part = archive.get(name)
        if len(part) != piece.length or piece.end > segment.size_bytes:
            place = object_name(archive.system_identifier, name)
            raise DamageError(place, f"it holds {len(part)} bytes, and its name says {piece.length}")
        content[piece.begin : piece.end] = part
    return content


def _without_contained(pieces: Iterable[Piece]) -> set[Piece]:
    """Return the pieces that no other one contains."""
    kept: set[Piece] = set()
    reach = -1
    for piece in sorted(pieces, key=lambda each: (each.begin, -each.end)):
        if piece.end > reach:
            kept.add(piece)
            reach = piece.end
    return kept
