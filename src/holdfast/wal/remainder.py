"""The WAL of a server that is down which its archive lacks: found in ``pg_wal``, followed to its end, and stored.

A killed server leaves behind what it had committed last: segments that it could not archive, and the one that it was
writing. Whole segments are stored under their own names, as it would have done. Of the last one only the part up to the
end of its last record is stored, as a piece, as a receiver stores it: should the server go on, its whole segment takes
the place of the piece.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import NotFoundError, VerificationError
from holdfast.postgres.segment import (
    Segment,
    history_name,
    is_segment_name,
    parse_segment_name,
    partial_name,
    segment_before,
)
from holdfast.postgres.timeline import parse_history
from holdfast.postgres.walchain import RecordChain
from holdfast.postgres.walpage import read_shape, valid_pages
from holdfast.repository.walframes import FRAME_BYTES
from holdfast.wal.names import piece_name
from holdfast.wal.pieces import covering, pieces_of
from holdfast.wal.reading import OpenWalFile
from holdfast.wal.validate import CheckedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.progress import Reporter
    from holdfast.repository.walframes import Content
    from holdfast.wal.archive import WalArchive


@dataclass(frozen=True)
class Remainder:
    """``segments`` of one timeline, without a hole, from the first that the archive lacks; records end at ``end``.

    ``lacks_history``: the archive has no history file of that timeline, and the server has. ``is_damaged``: the server
    wrote more WAL behind ``end``, which recovery does not come to.
    """

    directory: Path
    segments: Sequence[Segment]
    end: Lsn
    lacks_history: bool
    is_damaged: bool

    @property
    def size_bytes(self) -> int:
        """How much WAL it is."""
        return self.end - self.segments[0].start


def find_remainder(
    archive: WalArchive, pg_wal: Path, segment_size: int, needed: Mapping[Timeline, int]
) -> Remainder | None:
    """Return what the archive lacks of the newest timeline in ``pg_wal``; None where that is nothing, or not all there.

    Only what goes on without a hole counts: from the last whole segment in the archive, or from the first that a
    snapshot needs (``needed``: its number, by timeline). VerificationError where there is a hole, or damage, and more
    WAL behind it.
    """
    there = [parse_segment_name(name, segment_size) for name in os.listdir(pg_wal) if is_segment_name(name)]
    timeline = max((segment.timeline for segment in there), default=None)
    if timeline is None:
        return None
    own = {segment.number: segment for segment in there if segment.timeline == timeline}
    after = _after_archived(archive, timeline, segment_size)
    begins = [*after, *_begin_of(pg_wal, timeline, segment_size), needed.get(timeline, 0)]
    first = next((number for number in begins if number in own and number >= max(after, default=0)), None)
    if first is None:
        _require_nothing_behind(pg_wal, own, max(begins))
        return None
    end = _end_of_records(pg_wal, _without_hole(own, first), archive.system_identifier)
    if end is None:
        return None
    last = segment_before(end, timeline, segment_size)
    if last.number == first and end - last.start <= _stored_of(archive, last):
        return None
    segments = [own[number] for number in range(first, last.number + 1)]
    following = own.get(last.number + 1)
    return Remainder(
        directory=pg_wal,
        segments=segments,
        end=end,
        lacks_history=_history(pg_wal, timeline) is not None and not _has(archive, history_name(timeline)),
        is_damaged=following is not None and _is_written(pg_wal, following),
    )


def store_remainder(archive: WalArchive, remainder: Remainder, reporter: Reporter) -> None:
    """Store it, each file verified before. VerificationError, StorageError, WalConflictError, ServerError."""
    *whole, last = remainder.segments
    if remainder.lacks_history:
        name = history_name(last.timeline)
        archive.push(name, (remainder.directory / name).read_bytes())
    reporter.phase("archiving what the server left", total_bytes=remainder.size_bytes)
    for segment in whole:
        with closing(_open(remainder.directory, segment)) as file:
            archive.push_content(segment.name, _checked(archive, segment.name, file, segment))
        reporter.advance(segment.size_bytes)
    length_bytes = remainder.end - last.start
    with closing(_open(remainder.directory, last)) as file:
        deque(_checked(archive, partial_name(last), file, last).frames(), maxlen=0)
        name = last.name if length_bytes == last.size_bytes else piece_name(last.name, 0, length_bytes)
        archive.push_content(name, _Front(file, length_bytes))
    reporter.advance(length_bytes)


class _Front:
    """The first bytes of a content."""

    def __init__(self, content: Content, length_bytes: int) -> None:
        self._content, self.length_bytes = content, length_bytes

    def frames(self) -> Iterator[memoryview]:
        """Yield them, as ``Content`` does."""
        for at, frame in zip(range(0, self.length_bytes, FRAME_BYTES), self._content.frames(), strict=False):
            yield frame[: self.length_bytes - at]

    def packed(self, number: int, level: int) -> None:  # noqa: ARG002 - the interface
        """Nothing was compressed before."""
        return


def _after_archived(archive: WalArchive, timeline: Timeline, segment_size: int) -> list[int]:
    """Return the number of the segment after the last whole one of a timeline, if there is one."""
    names = [file.name for file in archive.list(timeline) if is_segment_name(file.name)]
    return [parse_segment_name(max(names), segment_size).number + 1] if names else []


def _begin_of(pg_wal: Path, timeline: Timeline, segment_size: int) -> list[int]:
    """Return the number of the segment that a timeline begins in, where its history tells."""
    history = _history(pg_wal, timeline)
    return [] if history is None else [history.entries[-1].begin // segment_size]


def _history(pg_wal: Path, timeline: Timeline) -> TimelineHistory | None:
    """Return the history of a timeline; None where it is lost, or only a stand-in that names no ancestors."""
    path = pg_wal / history_name(timeline)
    history = parse_history(timeline, path.read_text()) if path.exists() else None
    return history if history is not None and len(history.entries) > 1 else None


def _require_nothing_behind(pg_wal: Path, own: Mapping[int, Segment], lacking: int) -> None:
    """Raise VerificationError where there is WAL behind a segment that is neither archived nor there."""
    behind = [segment for number, segment in sorted(own.items()) if number > lacking > 0]
    written = next((segment for segment in behind if _is_written(pg_wal, segment)), None)
    if written is not None:
        gone = Segment(written.timeline, lacking, written.size_bytes)
        raise VerificationError(
            f"{gone.name} is neither archived nor in {pg_wal}, which has {written.name}: what was committed from "
            f"{gone.start} on does not come back",
            hint="if somebody moved WAL out of pg_wal, move it back, and run the same command again",
        )


def _without_hole(own: dict[int, Segment], first: int) -> Iterator[Segment]:
    while first in own:
        yield own[first]
        first += 1


def _end_of_records(pg_wal: Path, segments: Iterator[Segment], system_identifier: str) -> Lsn | None:
    """Return where the last record ends; None where none does, or where these segments are not of this cluster."""
    chain: RecordChain | None = None
    for segment in segments:
        at = segment.start
        with closing(_open(pg_wal, segment)) as file:
            for frame in file.frames():
                if chain is None:
                    try:
                        chain = RecordChain(read_shape(frame))
                    except VerificationError:  # not written yet
                        return None
                    if str(chain.shape.system_identifier) != system_identifier:
                        return None
                deque(chain.follow(frame, at), maxlen=0)
                if chain.has_ended:
                    return chain.end
                at += len(frame)
    return chain.end if chain is not None else None


def _is_written(pg_wal: Path, segment: Segment) -> bool:
    """Whether a segment has begun; one that waits to be used again has pages of another place in the WAL."""
    with closing(_open(pg_wal, segment)) as file:
        frame = next(file.frames(), memoryview(b""))
        try:
            return len(valid_pages(frame, segment.start, read_shape(frame), segment.timeline)) > 0
        except VerificationError:
            return False


def _stored_of(archive: WalArchive, segment: Segment) -> int:
    """Return how much of a segment's beginning the archive has as pieces, in bytes."""
    pieces = covering(pieces_of(archive.list(segment.timeline), segment.name))
    return pieces[-1].end if pieces else 0


def _has(archive: WalArchive, name: str) -> bool:
    try:
        archive.stamp(name)
    except NotFoundError:
        return False
    return True


def _open(pg_wal: Path, segment: Segment) -> OpenWalFile:
    return OpenWalFile(str(pg_wal / segment.name), segment.size_bytes)


def _checked(archive: WalArchive, name: str, file: OpenWalFile, segment: Segment) -> CheckedContent:
    return CheckedContent(name, file, archive.system_identifier, segment.size_bytes)
