"""Records of the WAL in order: each says how long it is and where the one before it began, so they form a chain.

The chain is followed by length in plain Python, which is all that must be done one by one: 8 million records a second
on one core. What makes a record valid is then asked of all of them together. The WAL ends where the chain breaks, as it
ends for recovery (``src/backend/access/transam/xlogreader.c``): a server that crashed or still writes leaves zeros
there, or what was there before. So no record is searched for, and none can be missed or be taken for one by its looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walcrc import RECORD_HEADER_BYTES
from holdfast.postgres.walpage import valid_pages
from holdfast.postgres.walrecord import INFO_MASK, RMGR_STANDBY, RMGR_XACT, RMGR_XLOG, Records
from holdfast.postgres.walstream import ALIGNMENT_BYTES, Carried, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from holdfast.postgres.walpage import Content, WalShape
    from holdfast.postgres.walstream import Offsets

_MOST_RECORD_BYTES: Final = 1020 * 1024 * 1024
"""``XLogRecordMaxSize`` (16 and later; longer ones could not be replayed before either)."""
_WINDOW_BYTES: Final = 16 * 1024 * 1024
"""Longer segments are worked off in parts of this size, so that memory does not grow with them."""

# src/include/catalog/pg_control.h
_XLOG_SWITCH: Final = 0x40
_XLOG_FPI_FOR_HINT: Final = 0xA0
_XLOG_FPI: Final = 0xB0


class RecordChain:
    """Follows the records through segments given one after the other, without a hole. Not for several threads.

    It may begin anywhere: a record that began before the first segment is passed over. ``has_ended`` says that the
    chain broke, at ``end``: no later segment belongs to it.
    """

    def __init__(self, shape: WalShape) -> None:
        self.shape = shape
        self.has_ended = False
        self.end: Lsn | None = None
        """Where the last record ended so far."""
        self._carried: Carried | None = None
        self._is_synchronised = False
        self._is_switched = False
        self._last_start: int | None = None
        self._timeline = 0

    def follow(self, content: Content, start: Lsn) -> Iterator[Records]:
        """Yield the records that end in the content at ``start``, in stretches of up to 16 MiB.

        That is a segment, or a part of it of whole pages, the parts before it having been followed.
        The CRC is verified of commits, aborts, restore points and the like (``may_be_reported``). VerificationError
        when one of these is damaged and the WAL nevertheless goes on behind it.
        """
        if start % self.shape.segment_size == 0:
            self._is_switched = False
        for offset in range(0, min(len(content), self.shape.segment_size), _WINDOW_BYTES):
            if self.has_ended or self._is_switched:
                return
            yield self._follow_window(memoryview(content)[offset : offset + _WINDOW_BYTES], start + offset)

    def _follow_window(self, content: memoryview, start: Lsn) -> Records:
        pages = valid_pages(content, start, self.shape, self._timeline)
        stream = Stream(self._carried, pages)
        pages_are_whole = len(pages.content) == len(content)
        begin = 0 if self._is_synchronised else stream.first_record_offset()
        self._carried = None
        if len(pages):
            self._timeline = int(pages.headers["timeline"][-1])
        if begin is None:
            self.has_ended = not pages_are_whole
            return Records.of(self.shape, stream, np.empty(0, np.int64))
        walk = _walk(stream, begin)
        rows = _rows_with_sound_pages(stream, walk, is_synchronised=self._is_synchronised)
        sound = self._sound(Records.of(self.shape, stream, walk.complete[:rows]))
        self._is_synchronised = True
        self._remember(sound)
        is_intact = rows == len(walk.offsets) and len(sound) == len(walk.complete) and walk.stop >= len(stream)
        if len(sound) and _is_switch(sound):
            self._is_switched = True
        elif not (is_intact and pages_are_whole):
            self.has_ended = True
        elif walk.stop > len(stream):
            self._carried = stream.carry(int(walk.offsets[-1]))
        return sound

    def _sound(self, records: Records) -> Records:
        """Return the records before the chain breaks."""
        records = records.where(slice(0, self._linked_rows(records)))
        reported = np.flatnonzero(may_be_reported(records))
        damaged = reported[~records.where(reported).have_right_crc()]
        if not len(damaged):
            return records
        if damaged[0] < len(records) - 1:
            raise VerificationError(f"the WAL record at {Lsn(int(records.starts[damaged[0]]))} is damaged")
        return records.where(slice(0, len(records) - 1))

    def _linked_rows(self, records: Records) -> int:
        """Return how many rows, from the first on, name the one before as the one before."""
        if not len(records):
            return 0
        is_linked = np.empty(len(records), np.bool_)
        previous = records.previous
        is_linked[1:] = previous[1:] == records.starts[:-1]
        is_linked[0] = previous[0] == self._last_start if self._last_start is not None else True
        return len(records) if is_linked.all() else int(np.argmin(is_linked))

    def _remember(self, records: Records) -> None:
        if len(records):
            self._last_start = int(records.starts[-1])
            self.end = Lsn(int(records.ends[-1]))


def may_be_reported(records: Records) -> NDArray[np.bool_]:
    """Return which records somebody may ask for: of transactions, of recovery, of standbys; no images of pages."""
    rmids, infos = records.rmids, records.infos & INFO_MASK
    is_image = (infos == _XLOG_FPI) | (infos == _XLOG_FPI_FOR_HINT)
    found: NDArray[np.bool_] = (rmids == RMGR_XACT) | (rmids == RMGR_STANDBY) | ((rmids == RMGR_XLOG) & ~is_image)
    return found


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where records begin, and where the next one would: beyond the stream, when the last one is not complete."""

    offsets: Offsets
    stop: int
    complete: Offsets
    given_up: tuple[tuple[int, int], ...]
    """Where a record began that was given up, and the page before which it was."""


def _walk(stream: Stream, begin: int) -> _Walk:
    """Go from record to record by their lengths, up to one that cannot be.

    Where a page says that the record before it was given up after a crash, a new one begins with that page.
    """
    lengths = stream.content.data.cast("I")
    offsets: list[int] = []
    given_up: list[tuple[int, int]] = []
    at = begin
    for page in stream.page_offsets[stream.abandons & (stream.page_offsets > begin)].tolist():
        at = _walk_run(lengths, at, page, offsets)
        if at > page:
            given_up.append((offsets.pop(), page))
        at = page
    stop = _walk_run(lengths, at, len(stream), offsets)
    found = np.fromiter(offsets, np.int64, len(offsets))
    return _Walk(found, stop, found[:-1] if stop > len(stream) else found, tuple(given_up))


def _walk_run(lengths: memoryview, at: int, limit: int, offsets: list[int]) -> int:
    """Append the offsets of the records from ``at`` to ``limit``; return where the next one would begin."""
    append = offsets.append
    while at < limit:
        length = lengths[at >> 2]
        if not RECORD_HEADER_BYTES <= length <= _MOST_RECORD_BYTES:
            break
        append(at)
        at = at + length + (ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES
    return at


def _rows_with_sound_pages(stream: Stream, walk: _Walk, *, is_synchronised: bool) -> int:
    """Return how many records, the incomplete one too, begin before a page that does not go on with what it should.

    A page tells how much of the record before it is still to come (``xlp_rem_len``).
    """
    pages = stream.page_offsets
    first = 0 if is_synchronised else int(walk.offsets[0]) + 1 if len(walk.offsets) else walk.stop
    asked = (pages >= first) & (pages < walk.stop) & ~stream.abandons
    for start, page in walk.given_up:
        asked &= (pages <= start) | (pages >= page)
    rows = np.searchsorted(walk.offsets, pages[asked], "left") - 1
    lengths = stream.content.view(np.uint32)[walk.offsets >> 2].astype(np.int64)
    ends = np.append(walk.offsets + lengths, 0)[rows]
    continued = np.maximum(ends - pages[asked], 0)
    wrong = np.flatnonzero(continued != stream.continued_bytes[asked])
    if not len(wrong):
        return len(walk.offsets)
    row = int(rows[wrong[0]])
    return row if continued[wrong[0]] else row + 1


def _is_switch(records: Records) -> bool:
    """Whether the last record says that the rest of its segment is empty."""
    last = records.where(slice(len(records) - 1, None))
    return bool(last.rmids[0] == RMGR_XLOG and last.infos[0] & INFO_MASK == _XLOG_SWITCH)
