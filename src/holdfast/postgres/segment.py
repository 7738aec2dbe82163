"""WAL segment files: their names, what part of the WAL each one holds, and which ones a range needs.

A name is 24 hexadecimal digits: timeline, then the segment number in two parts of eight, the low part counting to
4 GiB divided by the segment size (``XLogFileName`` and its neighbours in ``src/include/access/xlog_internal.h``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SEGMENT_SIZE_BYTES = 16 * 1024 * 1024

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_BACKUP = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")


class Segment(msgspec.Struct, frozen=True, order=True):
    """One WAL segment: ``number`` counts from the beginning of the WAL, whatever the timeline (``XLogSegNo``)."""

    timeline: Timeline
    number: int
    size_bytes: int

    @property
    def name(self) -> str:
        """The file name, 24 hexadecimal digits."""
        per_id = 2**32 // self.size_bytes
        return f"{self.timeline.hex}{self.number // per_id:08X}{self.number % per_id:08X}"

    @property
    def start(self) -> Lsn:
        """The position of the first byte."""
        return Lsn(self.number * self.size_bytes)

    @property
    def stop(self) -> Lsn:
        """The position just after the last byte."""
        return segment_end(self.number, self.size_bytes)

    def next(self) -> Segment:
        """Return the segment that follows on the same timeline."""
        return Segment(self.timeline, self.number + 1, self.size_bytes)


def segment_end(number: int, size_bytes: int) -> Lsn:
    """Return the position just after a segment; after the very last one there is none, so it is the last position."""
    return Lsn(min((number + 1) * size_bytes, MAX_LSN))


def require_segment_size(size_bytes: int) -> int:
    """Return ``size_bytes`` when it is a power of two from 1 MiB to 1 GiB (``IsValidWalSegSize``), or raise."""
    if not 2**20 <= size_bytes <= 2**30 or size_bytes & (size_bytes - 1):
        raise VerificationError(f"not a WAL segment size: {size_bytes} bytes")
    return size_bytes


def segment_at(lsn: Lsn, timeline: Timeline, size_bytes: int) -> Segment:
    """Return the segment that holds the byte at ``lsn`` (``XLByteToSeg``)."""
    return Segment(timeline, lsn // require_segment_size(size_bytes), size_bytes)


def segment_before(lsn: Lsn, timeline: Timeline, size_bytes: int) -> Segment:
    """Return the segment that holds the last byte before ``lsn`` (``XLByteToPrevSeg``).

    An exclusive end such as a backup's stop position needs this one: at a boundary it is the segment that ends there.
    """
    return segment_at(Lsn(max(lsn - 1, 0)), timeline, size_bytes)


def segments_between(start: Lsn, stop: Lsn, timeline: Timeline, size_bytes: int) -> Iterator[Segment]:
    """Yield the segments that hold the bytes from ``start`` (included) to ``stop`` (excluded), in order.

    The segment of ``start`` is yielded even when the range is empty, as a backup always needs it. VerificationError
    when ``stop`` lies before ``start``.
    """
    if stop < start:
        raise VerificationError(f"a WAL range cannot end at {stop} when it starts at {start}")
    segment = segment_at(start, timeline, size_bytes)
    last = segment_before(stop, timeline, size_bytes)
    yield segment
    while segment.number < last.number:
        segment = segment.next()
        yield segment


def parse_segment_name(name: str, size_bytes: int) -> Segment:
    """Return the segment of a file name, of a cluster with this segment size; VerificationError when it is none."""
    per_id = 2**32 // require_segment_size(size_bytes)
    if not is_segment_name(name) or int(name[16:], 16) >= per_id:
        raise VerificationError(f"not the name of a WAL segment of {size_bytes} bytes: {name!r}")
    return Segment(Timeline.parse_hex(name[:8]), int(name[8:16], 16) * per_id + int(name[16:], 16), size_bytes)


def is_segment_name(name: str) -> bool:
    """Whether this is the form of a WAL segment's name (``IsXLogFileName``)."""
    return _SEGMENT.fullmatch(name) is not None


def is_backup_name(name: str) -> bool:
    """Whether this is the form of a backup history file's name (``IsBackupHistoryFileName``)."""
    return _BACKUP.fullmatch(name) is not None


def is_history_name(name: str) -> bool:
    """Whether this is the form of a timeline history file's name (``IsTLHistoryFileName``)."""
    return _HISTORY.fullmatch(name) is not None


def history_name(timeline: Timeline) -> str:
    """Return the name of a timeline's history file; timeline 1 has none on disk."""
    return f"{timeline.hex}.history"


def partial_name(segment: Segment) -> str:
    """Return the name under which an incomplete segment is kept."""
    return f"{segment.name}.partial"
