"""Where WAL is read from, to look into it: the archive, or a directory of segments such as ``pg_wal``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import NotFoundError
from holdfast.postgres.segment import Segment, is_segment_name, parse_segment_name, partial_name
from holdfast.postgres.walpage import LONG_HEADER_BYTES, read_shape
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from holdfast.postgres.timeline import TimelineHistory
    from holdfast.wal.archive import WalArchive

Content = bytes | bytearray


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

    def read(self, segment: Segment) -> Content:
        """Return a segment; of one that is not whole the beginning, with zeros or anything else behind it."""
        ...


class DirectorySource:
    """Plain segment files, such as ``pg_wal`` holds them; those that wait to be used again count as well."""

    def __init__(self, directory: Path, history: TimelineHistory) -> None:
        """List the directory; VerificationError when its first segment is none."""
        self.history = history
        self._directory = directory
        names = sorted(name for name in os.listdir(directory) if is_segment_name(name))
        self.segments: Sequence[Segment] = ()
        if names:
            size_bytes = read_shape(self._head(names[0])).segment_size
            self.segments = along(history, [parse_segment_name(name, size_bytes) for name in names])

    def read(self, segment: Segment) -> bytes:
        """Return the file's content."""
        return (self._directory / segment.name).read_bytes()

    def _head(self, name: str) -> bytes:
        with (self._directory / name).open("rb") as file:
            return file.read(LONG_HEADER_BYTES)


class ArchiveSource:
    """The archive's segments; where the newest is not whole, what the receiver stored of it."""

    def __init__(self, archive: WalArchive, history: TimelineHistory, segment_size: int) -> None:
        """List the timelines of the history."""
        self.history = history
        self._archive = archive
        files = [file for entry in history.entries for file in archive.list(entry.timeline)]
        self._whole = {file.name for file in files if file.kind is WalFileKind.SEGMENT}
        self._partial = {file.segment_name for file in files if file.kind is WalFileKind.PARTIAL}
        names = {file.segment_name for file in files if file.kind in _WITH_WAL}
        self.segments: Sequence[Segment] = along(history, [parse_segment_name(name, segment_size) for name in names])

    def read(self, segment: Segment) -> bytearray:
        """Return a segment's content; DamageError, KeyRefusedError as of ``WalArchive.get``."""
        if segment.name in self._whole:
            return self._archive.get(segment.name)
        if segment.name in self._partial:
            return self._archive.get(partial_name(segment))
        content = assemble(self._archive, segment)
        if content is None:
            raise NotFoundError(
                f"the archive lacks the beginning of WAL segment {segment.name}",
                hint="'holdfast wal status' shows the gaps of the archive, and what can be recovered",
            )
        return content


_WITH_WAL = {WalFileKind.SEGMENT, WalFileKind.PARTIAL, WalFileKind.PIECE}


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
