"""Where WAL is read from, to look into it: what the archive has along one history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.postgres.segment import Segment, parse_segment_name
from holdfast.wal.beginning import PARTIALS, find_beginning
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import assembled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.postgres.timeline import TimelineHistory
    from holdfast.storage.base import Buffer
    from holdfast.wal.archive import WalArchive

_ORDINARY_BYTES, _PART_BYTES = 16 << 20, 4 << 20
"""An ordinary segment is one part, and larger ones are gone through in small ones: memory must not grow with them."""


class SegmentSource(Protocol):
    """WAL segments along one history. ``read`` may be called from several threads."""

    @property
    def history(self) -> TimelineHistory:
        """The past that the segments belong to."""
        ...

    @property
    def segments(self) -> Sequence[Segment]:
        """What there is, in order, each number at most once; numbers may be missing."""
        ...

    def read(self, segment: Segment) -> Iterator[Buffer]:
        """Yield a segment in order, in parts of whole pages, of which several fit into memory at a time.

        Of one that is not whole it is the beginning, with zeros or anything else behind it.
        """
        ...


class ArchiveSource:
    """The archive's segments; where the newest is not whole, what the receiver stored of it."""

    def __init__(self, archive: WalArchive, history: TimelineHistory, segment_size: int) -> None:
        """List the timelines of the history."""
        self.history = history
        self._archive = archive
        files = [file for entry in history.entries for file in archive.list(entry.timeline)]
        self._whole = {file.name for file in files if file.kind is WalFileKind.SEGMENT}
        with_partial = {file.segment_name for file in files if file.kind in PARTIALS}
        self._beginnings = [file for file in files if file.segment_name in with_partial]
        names = {file.segment_name for file in files if file.kind in _WITH_WAL}
        self.segments: Sequence[Segment] = along(history, [parse_segment_name(name, segment_size) for name in names])

    def read(self, segment: Segment) -> Iterator[memoryview]:
        """Yield a segment's content; NotFoundError, DamageError, KeyRefusedError."""
        return _in_parts(self._frames(segment), _part_bytes(segment))

    def _frames(self, segment: Segment) -> Iterator[memoryview]:
        if segment.name in self._whole:
            return self._archive.open(segment.name, segment.size_bytes).frames()
        if beginning := find_beginning(self._archive, segment, self._beginnings):
            return beginning.content.frames()
        return assembled(self._archive, segment)


_WITH_WAL = {WalFileKind.SEGMENT, WalFileKind.PARTIAL, WalFileKind.PIECE}


def _part_bytes(segment: Segment) -> int:
    """Return how long the parts are in which a segment is read."""
    return segment.size_bytes if segment.size_bytes <= _ORDINARY_BYTES else _PART_BYTES


def _in_parts(frames: Iterator[memoryview], length_bytes: int) -> Iterator[memoryview]:
    """Yield frames joined to parts; the last one when the frames have come to their end without an error."""
    part, at = memoryview(bytearray(length_bytes)), 0
    for frame in frames:
        if at == length_bytes:
            yield part
            part, at = memoryview(bytearray(length_bytes)), 0
        part[at : at + len(frame)] = frame
        at += len(frame)
    yield part[:at]


def along(history: TimelineHistory, segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments that recovery on a history would read, in order.

    Of the segments of one number it reads that of the newest timeline (``XLogFileReadAnyTLI`` in
    ``src/backend/access/transam/xlogrecovery.c``): a new timeline begins with a copy of what it shares with the old.
    """
    parts = {entry.timeline: entry for entry in history.entries}
    newest: dict[int, Segment] = {}
    for segment in segments:
        part = parts.get(segment.timeline)
        if part is None or segment.number < part.begin // segment.size_bytes:
            continue
        if part.end is not None and segment.start >= part.end:
            continue
        other = newest.get(segment.number)
        if other is None or other.timeline < segment.timeline:
            newest[segment.number] = segment
    return [newest[number] for number in sorted(newest)]
