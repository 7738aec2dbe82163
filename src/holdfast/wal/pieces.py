"""Pieces: the parts of a segment that the receiver stored while the segment still grew, and how they make it up again.

A piece is named by its bytes, ``[begin, end)`` within the segment, and may overlap others: small ones are absorbed by
the next, and deleted when that is durable. Once the whole segment is stored its pieces are of no more use. What a
killed receiver left behind is either needed or superseded; both can be told from names alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, NotFoundError
from holdfast.repository.walframes import FRAME_BYTES
from holdfast.wal.names import WalFileKind, object_name, piece_name, piece_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.postgres.segment import Segment
    from holdfast.repository.walframes import Content
    from holdfast.repository.walread import StoredWalFile
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


class JoinedPieces:
    """A segment's content as its pieces make it up, zeros behind the last of them; read piece by piece."""

    def __init__(self, archive: WalArchive, segment: Segment, pieces: Sequence[Piece]) -> None:
        """``pieces`` cover the beginning without a hole, in order: see ``covering``."""
        self._archive, self._segment, self._pieces = archive, segment, pieces

    @property
    def length_bytes(self) -> int:
        """The length of the segment."""
        return self._segment.size_bytes

    def frames(self) -> Iterator[memoryview]:
        """Yield it, as ``Content`` does; NotFoundError when a piece is gone, DamageError, KeyRefusedError."""
        memory, filled, done = memoryview(bytearray(FRAME_BYTES)), 0, 0
        for part in self._parts():
            rest = part
            while rest:
                count = min(len(rest), FRAME_BYTES - filled)
                memory[filled : filled + count] = rest[:count]
                rest, filled = rest[count:], filled + count
                if filled == FRAME_BYTES:
                    yield memory
                    filled, done = 0, done + FRAME_BYTES
        for at in range(done, self.length_bytes, FRAME_BYTES):
            memory[filled:] = bytes(FRAME_BYTES - filled)
            yield memory[: self.length_bytes - at]
            filled = 0

    def packed(self, number: int, level: int) -> None:  # noqa: ARG002 - the interface
        """Nothing is compressed as it could be stored."""
        return

    def _parts(self) -> Iterator[memoryview]:
        """Yield what each piece has beyond those before it."""
        reach = 0
        for piece in self._pieces:
            known_bytes = reach - piece.begin
            for frame in self._open(piece).frames():
                yield frame[known_bytes:]
                known_bytes = max(0, known_bytes - len(frame))
            reach = piece.end

    def _open(self, piece: Piece) -> StoredWalFile:
        name = piece.name(self._segment.name)
        stored = self._archive.open(name, piece.length)
        if stored.length_bytes != piece.length or piece.end > self._segment.size_bytes:
            place = object_name(self._archive.system_identifier, name)
            raise DamageError(place, f"it holds {stored.length_bytes} bytes, and its name says {piece.length}")
        return stored


def assembled(archive: WalArchive, segment: Segment) -> Iterator[memoryview]:
    """Yield a segment in frames, put together from its pieces, zeros behind the last of them.

    When the whole segment takes the place of the pieces meanwhile, it goes on with that. NotFoundError when the start
    of the segment is not there; DamageError, KeyRefusedError.
    """
    done = 0
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            for frame in islice(_stored(archive, segment).frames(), done, None):
                yield frame
                done += 1
        except NotFoundError:  # replaced while we were reading
            if not attempts_left:
                raise
        else:
            return


def _stored(archive: WalArchive, segment: Segment) -> Content:
    files = [file for file in archive.list(segment.timeline) if file.segment_name == segment.name]
    if any(file.kind is WalFileKind.SEGMENT for file in files):
        return archive.open(segment.name, segment.size_bytes)
    if pieces := covering(pieces_of(files, segment.name)):
        return JoinedPieces(archive, segment, pieces)
    raise NotFoundError(
        f"the archive lacks the beginning of WAL segment {segment.name}",
        hint="'holdfast wal status' shows the gaps of the archive, and what can be recovered",
    )


def _without_contained(pieces: Iterable[Piece]) -> set[Piece]:
    """Return the pieces that no other one contains."""
    kept: set[Piece] = set()
    reach = -1
    for piece in sorted(pieces, key=lambda each: (each.begin, -each.end)):
        if piece.end > reach:
            kept.add(piece)
            reach = piece.end
    return kept
