"""One way through the WAL of a history, from segment to segment: read ahead, followed record by record, holes noted."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walchain import RecordChain
from holdfast.postgres.walpage import read_shape

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from holdfast.postgres.segment import Segment
    from holdfast.postgres.walpage import WalShape
    from holdfast.postgres.walrecord import Records
    from holdfast.progress import Reporter
    from holdfast.storage.base import Buffer
    from holdfast.wal.sources import SegmentSource

_READ_AHEAD_BYTES = 64 * 1024 * 1024
_MOST_READ_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Hole:
    """WAL that could not be read between two positions; ``start`` is None where nothing before it was read."""

    start: Lsn | None
    stop: Lsn


class WalScan:
    """Reads segments of a source in order. ``holes`` grows while it goes on."""

    def __init__(self, source: SegmentSource, reporter: Reporter) -> None:
        self.holes: list[Hole] = []
        self._source, self._reporter = source, reporter
        self._ends = {entry.timeline: entry.end for entry in source.history.entries}
        self._shape: WalShape | None = None

    def stretches(self, segments: Sequence[Segment]) -> Iterator[Records]:
        """Yield the records that end in these segments, but for one that began before the first of them.

        What lies on a timeline beyond the point where it was left is not part of the history and is not yielded.
        DamageError when a segment cannot be opened, VerificationError when WAL is damaged where more of it follows.
        """
        chain: RecordChain | None = None
        previous: Segment | None = None
        reached: Lsn | None = None
        for segment, first, rest in self._begun(segments):
            self._shape = self._shape or read_shape(first)
            is_resumed = False
            if chain is None or chain.has_ended or previous is None or segment.number != previous.number + 1:
                is_resumed = chain is not None
                chain = RecordChain(self._shape)
            for records in _followed(chain, segment, itertools.chain([first], rest)):
                if is_resumed and len(records):
                    self._note(Hole(reached, Lsn(int(records.starts[0]))))
                    is_resumed = False
                yield self._on_history(records, segment)
            previous, reached = segment, chain.end or reached
            self._reporter.advance(segment.size_bytes)

    def _note(self, hole: Hole) -> None:
        if hole not in self.holes:
            self.holes.append(hole)

    def _on_history(self, records: Records, segment: Segment) -> Records:
        end = self._ends.get(segment.timeline)
        if end is None or not len(records) or int(records.starts[-1]) < end:
            return records
        return records.where(records.starts < np.uint64(end))

    def _begun(self, segments: Sequence[Segment]) -> Generator[tuple[Segment, Buffer, Iterator[Buffer]], None, None]:
        """Yield segments with their first part, and what gives the rest; the next ones are begun with meanwhile."""
        if not segments:
            return
        ahead = max(1, min(_MOST_READ_AHEAD, _READ_AHEAD_BYTES // segments[0].size_bytes))
        with ThreadPoolExecutor(ahead, thread_name_prefix="wal-read") as pool:
            waiting = deque(pool.submit(self._begin, segment) for segment in segments[:ahead])
            for number, segment in enumerate(segments):
                try:
                    first, rest = waiting.popleft().result()
                    if number + ahead < len(segments):
                        waiting.append(pool.submit(self._begin, segments[number + ahead]))
                    yield segment, first, rest
                except BaseException:
                    for each in waiting:
                        each.cancel()
                    raise

    def _begin(self, segment: Segment) -> tuple[Buffer, Iterator[Buffer]]:
        parts = self._source.read(segment)
        return next(parts, b""), parts


def _followed(chain: RecordChain, segment: Segment, parts: Iterator[Buffer]) -> Iterator[Records]:
    """Yield the records that end in a segment; its rest is not read where the chain ends."""
    at = segment.start
    for part in parts:
        yield from chain.follow(part, at)
        if chain.has_ended:
            return
        at += len(part)
