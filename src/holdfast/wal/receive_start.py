"""Where the receiver begins: at the start of a segment, because only whole segments can take the place of their pieces.

What the archive has, on the timelines that lead to the server's own, says where WAL is missing; what the slot holds
says where the server still has it for certain. Where that is before what is missing, the last segment that the archive
has is received again: it is compared then, and a server whose past is another one by now stores nothing behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment, parse_segment_name, segment_at
from holdfast.wal.names import WalFileKind, piece_range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.postgres.replication import SlotPosition, SystemIdentity
    from holdfast.postgres.timeline import HistoryEntry, Timeline, TimelineHistory
    from holdfast.wal.names import ArchivedFile


@dataclass(frozen=True, slots=True)
class TimelineFiles:
    """What the archive has of one timeline: the numbers of its whole segments, and how far its newest bytes reach."""

    whole: frozenset[int]
    end: Lsn


@dataclass(frozen=True, slots=True)
class Origin:
    """What a start is chosen from; ``archived`` holds the timelines of ``history`` that the archive has WAL of."""

    system: SystemIdentity
    segment_size: int
    history: TimelineHistory
    slot: SlotPosition | None
    archived: dict[Timeline, TimelineFiles]


def survey_timeline(files: Iterable[ArchivedFile], segment_size: int) -> TimelineFiles | None:
    """Return what a listing of one timeline holds; None when there is no WAL in it."""
    whole: set[int] = set()
    end = Lsn(0)
    for file in files:
        if file.kind is WalFileKind.SEGMENT:
            segment = parse_segment_name(file.name, segment_size)
            whole.add(segment.number)
            end = max(end, segment.stop)
        elif file.kind is WalFileKind.PIECE:
            segment = parse_segment_name(file.segment_name, segment_size)
            end = max(end, segment.start + piece_range(file.name)[1])
    return TimelineFiles(frozenset(whole), end) if end else None


def first_choice(origin: Origin) -> Segment:
    """Return the segment to begin with: the first that the archive lacks, or the one before where the slot holds that.

    Without an archive it is what the slot holds from, and without that the segment that is being written.
    """
    for entry in reversed(origin.history.entries):
        files = origin.archived.get(entry.timeline)
        if files is not None:
            return _first_missing(origin, entry, files)
    return second_choice(origin)


def second_choice(origin: Origin) -> Segment:
    """Return the oldest segment that the server has for certain: for when it no longer has the first choice."""
    if origin.slot is not None:
        return segment_at(origin.slot.restart, origin.slot.timeline, origin.segment_size)
    return last_choice(origin)


def last_choice(origin: Origin) -> Segment:
    """Return the segment that the server writes now."""
    return segment_at(origin.system.flushed, origin.system.timeline, origin.segment_size)


def _first_missing(origin: Origin, entry: HistoryEntry, files: TimelineFiles) -> Segment:
    if entry.end is not None and files.end >= entry.end:  # all of it is there: go on with the timeline that followed
        following = origin.history.timeline_at(entry.end)
        return segment_at(entry.end, following, origin.segment_size)
    newest = segment_at(files.end, entry.timeline, origin.segment_size)
    held = origin.slot
    if held is None or held.timeline != entry.timeline or held.restart >= newest.start:
        return newest
    last = segment = segment_at(held.restart, entry.timeline, origin.segment_size)
    while segment.number < newest.number and segment.number in files.whole:
        last, segment = segment, segment.next()
    return last
