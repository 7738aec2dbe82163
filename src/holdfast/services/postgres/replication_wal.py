"""The WAL that a snapshot carries, by START_REPLICATION: from the start of the first segment to the backup's end.

A temporary slot has held it since before the backup began. The server is told of no position: what is here is durable
only with the snapshot, and a commit that waits for a synchronous standby must not be answered by a backup.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast import clock
from holdfast.errors import ServerUnreachableError, VerificationError
from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.replication_messages import StandbyStatus, WalData, instant
from holdfast.postgres.segment import segments_between
from holdfast.repository.chunker import fixed_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.sources import FileSource
from holdfast.services.postgres.replication_tasks import SPAN_BYTES, ArrivingFile, SpanBuffers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.postgres.replication_stream import WalStream
    from holdfast.postgres.segment import Segment
    from holdfast.postgres.timeline import Timeline
    from holdfast.repository.intake import Task

_REPORT_EVERY_S = 10.0
_GIVE_UP_AFTER_S = 60.0
_WAKE_MS = 1000
_PAGE_ADDRESS_WORD = 1
"""Every page's header has the page's address at byte 8 (``xlp_pageaddr`` in ``xlog_internal.h``)."""


@dataclass(frozen=True, slots=True)
class WalWanted:
    """The WAL of one backup: start, exclusive stop, its timeline; sizes of segments and pages in bytes.

    ``ends_with_switch``: the server then went on with the next segment (``do_pg_backup_stop`` in xlog.c; a standby
    cannot). The last segment is taken whole, or recovery would not find its way on into what an archive has of later.
    """

    start: Lsn
    stop: Lsn
    timeline: Timeline
    segment_size: int
    block_size: int
    ends_with_switch: bool

    def bytes_of(self, segment: Segment) -> int:
        """Return how much of a segment is to be had."""
        return segment.size_bytes if self.ends_with_switch else min(segment.size_bytes, self.stop - segment.start)

    def segments(self) -> list[Segment]:
        """Return the segments that hold it."""
        return list(segments_between(self.start, self.stop, self.timeline, self.segment_size))


class ArrivingWal:
    """WAL as it is streamed, as tasks for the pipeline; ``sent`` is the server's clock at its last message."""

    def __init__(self, stream: WalStream, wanted: WalWanted, model: Entry) -> None:
        """``model`` is an entry whose owner and mode the segments get."""
        self._stream, self._wanted, self._model = stream, wanted, model
        self._messages = self._receive()
        self._position = wanted.segments()[0].start
        self._data = memoryview(b"")
        self._buffers = SpanBuffers()
        self.sent: datetime | None = None

    def received(self, path: bytes, size: int, crc32c: int) -> None:
        """WAL is in no list of the server (a Recipient)."""

    def tasks(self) -> Iterator[Task]:
        """Yield the tasks of one segment after the other. ServerUnreachableError, ServerError, VerificationError."""
        for segment in self._wanted.segments():
            path = b"pg_wal/" + segment.name.encode("ascii")
            entry = _segment_entry(self._model, path, segment.size_bytes)
            file = ArrivingFile(FileSource(entry, b"", ContentClass.WAL), self, self._buffers)
            end = self._wanted.bytes_of(segment)
            for offset in range(0, end, SPAN_BYTES):
                length = min(SPAN_BYTES, end - offset)
                buffer = self._buffers.take()
                self._fill(buffer[:length])
                self._require_pages(segment, offset, buffer[:length])
                yield file.span(offset, list(fixed_cuts(length)), buffer, is_last=offset + length == end)

    def _fill(self, buffer: memoryview) -> None:
        filled = 0
        while filled < len(buffer):
            if not self._data:
                self._data = next(self._messages)
            part = self._data[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._data = self._data[len(part) :]

    def _receive(self) -> Iterator[memoryview]:
        """Yield runs of WAL that follow each other."""
        heard_at = reported_at = clock.monotonic()
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        while True:
            for message in self._stream.read():
                heard_at = clock.monotonic()
                if isinstance(message, WalData):
                    self._require_next(message)
                    self.sent = instant(message.sent)
                    yield message.data
                elif message.wants_reply:
                    reported_at -= _REPORT_EVERY_S
            if self._stream.has_ended:
                self._stream.end()
                raise ServerUnreachableError("the server ended the stream of WAL", hint="run the backup again")
            now = clock.monotonic()
            if now - reported_at >= _REPORT_EVERY_S:
                self._stream.report(StandbyStatus(NO_LSN, NO_LSN))
                reported_at = now
            if now - heard_at > _GIVE_UP_AFTER_S:
                raise ServerUnreachableError(
                    f"the server has sent no WAL for {_GIVE_UP_AFTER_S:g} s", hint="run the backup again"
                )
            poll.poll(_WAKE_MS)

    def _require_next(self, message: WalData) -> None:
        if message.start != self._position:
            raise VerificationError(
                f"the server sent WAL from {message.start}, and {self._position} was to come",
                hint="this is a fault of the server or of holdfast: please report it",
            )
        self._position = Lsn(self._position + len(message.data))

    def _require_pages(self, segment: Segment, offset: int, content: memoryview) -> None:
        """Raise when a page from the start on is not of its position; zeros follow a switch to the next segment."""
        size = self._wanted.block_size
        begin = segment.start + offset
        words = np.frombuffer(content[: len(content) // 8 * 8], "<u8")
        said = words[_PAGE_ADDRESS_WORD :: size // 8]
        expected = np.arange(len(said), dtype=np.uint64) * np.uint64(size) + np.uint64(begin)
        used = int(np.flatnonzero(said)[-1]) + 1 if said.any() else 0
        first = max(0, self._wanted.start - begin) // size
        wrong = np.flatnonzero((said != expected)[first:used])
        if len(wrong):
            at = offset + (first + int(wrong[0])) * size
            raise VerificationError(
                f"WAL segment {segment.name} came without the WAL at offset {at}", hint="run the backup again"
            )


def _segment_entry(model: Entry, path: bytes, size: int) -> Entry:
    return msgspec.structs.replace(model, path=path, kind=EntryKind.FILE, size=size, extents=b"", extent_chunks=())
