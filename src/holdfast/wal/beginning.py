"""The beginning of a segment that is not whole in the archive, at full length: recovery reads it to its last byte.

It comes from the pieces that the receiver stored while the segment grew, or from a ``.partial`` that PostgreSQL
archives where a promotion left a timeline, of which there may be several; whichever reaches furthest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import VerificationError
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import JoinedPieces, covering, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.postgres.segment import Segment
    from holdfast.repository.walframes import Content
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile

PARTIALS = frozenset({WalFileKind.PARTIAL, WalFileKind.OTHER_PARTIAL})


@dataclass(frozen=True, slots=True)
class Beginning:
    """A segment's content of full length, of which ``length_bytes`` are WAL; what follows means nothing."""

    content: Content
    length_bytes: int


def find_beginning(archive: WalArchive, segment: Segment, listed: Iterable[ArchivedFile]) -> Beginning | None:
    """Return what a listing has of a segment; None where that is nothing. DamageError, KeyRefusedError.

    Going through the content raises NotFoundError when a piece is gone since the listing: then the segment is whole.
    """
    files = [file for file in listed if file.segment_name == segment.name]
    pieces = covering(pieces_of(files, segment.name))
    found = [Beginning(JoinedPieces(archive, segment, pieces), pieces[-1].end)] if pieces else []
    found += [_in_partial(archive, segment, file.name) for file in files if file.kind in PARTIALS]
    return max(found, key=lambda beginning: beginning.length_bytes, default=None)


def _in_partial(archive: WalArchive, segment: Segment, name: str) -> Beginning:
    """Find out by going through it how much of it is WAL.

    The server's file was another segment before (``InstallXLogFileSegment`` in xlog.c), so what follows the WAL may be
    anything: the last record counts, and where none begins in it the last page that is one of this segment.
    """
    from holdfast.postgres.walchain import RecordChain  # numpy: few recoveries come here
    from holdfast.postgres.walpage import read_shape, valid_pages

    content = archive.open(name, segment.size_bytes)
    chain, at, reached = None, segment.start, segment.start
    for frame in content.frames():
        chain = chain or RecordChain(read_shape(frame))
        pages = valid_pages(frame, at, chain.shape, 0)
        if len(pages):
            reached = at + len(bytes(pages.content).rstrip(b"\0"))
        try:
            deque(chain.follow(frame, at), maxlen=0)
        except VerificationError:  # recovery ends there, too
            break
        if len(pages.content) < len(frame):
            break
        at = at + len(frame)
    if chain is not None and chain.end is not None:
        reached = chain.end
    return Beginning(content, max(reached - segment.start, 0))
