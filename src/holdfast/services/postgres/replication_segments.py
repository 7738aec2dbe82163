"""The WAL segments of a backup that comes by the replication protocol: stored in spans, one after the other.

Where the backup ends is known only when its files have come, and by then more WAL may have: what is too much is left
out of the last segment, and its chunks are nobody's until they are pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.errors import ServerError, VerificationError
from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.segment import segment_at, segment_before, segments_between
from holdfast.postgres.walpage import read_shape
from holdfast.postgres.waltablespace import TablespaceSearch
from holdfast.repository.chunker import fixed_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import clip_extents, join_extents
from holdfast.repository.manifest import EXTENT_DTYPE

if TYPE_CHECKING:
    from holdfast.postgres.segment import Segment
    from holdfast.postgres.timeline import Timeline
    from holdfast.postgres.walpage import WalShape
    from holdfast.postgres.waltablespace import MadeTablespace
    from holdfast.repository.writer import Writer
    from holdfast.storage.base import Buffer

_SPAN_BYTES = 8 << 20
_PAGE_ADDRESS_WORD = 1
"""Every page's header has the page's address at byte 8 (``xlp_pageaddr`` in ``xlog_internal.h``)."""


@dataclass(frozen=True, slots=True)
class StreamedWal:
    """Where the WAL of a backup begins, its timeline, and the sizes of segments and pages in bytes."""

    start: Lsn
    timeline: Timeline
    segment_size: int
    block_size: int

    @property
    def first(self) -> Segment:
        """The segment of the start: WAL is wanted from its first byte on."""
        return segment_at(self.start, self.timeline, self.segment_size)

    def end(self, stop: Lsn, *, has_switched: bool) -> Lsn:
        """Return up to where WAL is wanted of a backup that ends at ``stop`` (exclusive).

        ``has_switched``: the server then went on with the next segment (``do_pg_backup_stop`` in xlog.c; a standby
        cannot). The last one is taken whole, or recovery would not find its way on into what an archive has of later.
        """
        last = segment_before(stop, self.timeline, self.segment_size)
        return Lsn(last.start + last.size_bytes) if has_switched else stop

    def segments(self, end: Lsn) -> list[Segment]:
        """Return the segments that hold what is wanted up to ``end``."""
        return list(segments_between(self.start, end, self.timeline, self.segment_size))


class StoredSegments:
    """Takes WAL in its order and stores it. For one thread at a time, but for ``received`` and ``stored``.

    ``received`` is the position up to which WAL was taken, ``stored`` that up to which it was given to the repository.
    """

    def __init__(self, writer: Writer, streamed: StreamedWal) -> None:
        self._writer, self._streamed = writer, streamed
        self._buffer = memoryview(bytearray(min(_SPAN_BYTES, streamed.segment_size)))
        self._filled = 0
        self._begin = streamed.first.start
        self._extents: list[np.ndarray] = []
        self._search = TablespaceSearch()
        self._wal_shape: WalShape | None = None
        self._made: list[MadeTablespace] = []
        self.received = self._begin
        self.stored = NO_LSN

    def take(self, start: Lsn, content: Buffer) -> None:
        """Take what follows. VerificationError when it does not follow, or is not of its position."""
        if start != self.received:
            raise VerificationError(
                f"the server sent WAL from {start}, and {self.received} was to come",
                hint="this is a fault of the server or of holdfast: please report it",
            )
        at = 0
        while at < len(content):
            part = content[at : at + len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            at += len(part)
            if self._filled == len(self._buffer):
                self._store_span()
        self.received = Lsn(start + len(content))

    def store_rest(self) -> None:
        """Store what is left of it."""
        if self._filled:
            self._store_span()

    def extents(self, end: Lsn) -> list[tuple[Segment, np.ndarray]]:
        """Return each segment up to ``end`` with its extents (EXTENT_DTYPE); what lies behind ``end`` is left out."""
        origin = self._streamed.first.start
        table = join_extents(self._extents)
        found = []
        for segment in self._streamed.segments(end):
            first, last = segment.start - origin, min(segment.start + segment.size_bytes, end) - origin
            part = clip_extents(table, np.array([first]), np.array([last]))
            part["file_offset"] -= np.uint64(first)
            found.append((segment, part))
        return found

    def require_no_tablespace(self, end: Lsn) -> None:
        """Raise ServerError when a tablespace was made from the start on, and before ``end``.

        Recovery would make it again at its place, which is in use where the server runs: also one that was made in
        time to be announced, and that a restore puts elsewhere.
        """
        for made in self._made:
            if self._streamed.start <= made.lsn < end:
                place = made.location or "the data directory"
                raise ServerError(
                    f"tablespace {made.oid} was made in {place} during the backup, which cannot hold it",
                    hint="run the backup again",
                )

    def _store_span(self) -> None:
        content = self._buffer[: self._filled]
        self._require_pages(content)
        self._look_for_tablespaces()
        cuts = list(fixed_cuts(len(content)))
        ids = self._writer.put(ContentClass.WAL, [content[at : at + length] for at, length in cuts])
        extents = np.zeros(len(cuts), dtype=EXTENT_DTYPE)
        extents["file_offset"] = [self._begin - self._streamed.first.start + at for at, _ in cuts]
        extents["length"] = [length for _, length in cuts]
        extents["chunk"] = [np.void(chunk) for chunk in ids]
        self._extents.append(extents)
        self._begin = self.stored = Lsn(self._begin + len(content))
        self._filled = 0

    def _look_for_tablespaces(self) -> None:
        size = self._streamed.block_size
        end = -(-self._filled // size) * size
        self._buffer[self._filled : end] = bytes(end - self._filled)
        if self._wal_shape is None:  # a segment begins here, and says what all are like
            self._wal_shape = read_shape(self._buffer[:end])
        first = max(0, self._streamed.start - self._begin) // size * size
        if first < end:
            self._made += self._search.look(self._wal_shape, self._buffer[first:end], Lsn(self._begin + first))

    def _require_pages(self, content: memoryview) -> None:
        """Raise when a page from the start on is not of its position; zeros follow a switch to the next segment."""
        size = self._streamed.block_size
        words = np.frombuffer(content[: len(content) // 8 * 8], "<u8")
        said = words[_PAGE_ADDRESS_WORD :: size // 8]
        expected = np.arange(len(said), dtype=np.uint64) * np.uint64(size) + np.uint64(self._begin)
        used = int(np.flatnonzero(said)[-1]) + 1 if said.any() else 0
        first = max(0, self._streamed.start - self._begin) // size
        wrong = np.flatnonzero((said != expected)[first:used])
        if len(wrong):
            at = Lsn(self._begin + (first + int(wrong[0])) * size)
            raise VerificationError(f"the WAL that came for {at} is that of elsewhere", hint="run the backup again")
