"""WAL summaries: which blocks the WAL of a range wrote to, as a server since 17 notes it (``summarize_wal``).

A summary names, for each fork of each relation, the blocks that were written and, where it was cut off, made or
dropped, its *limit block*: whatever lies from there on counts as written. A database that was made or dropped by
copying or removing files has the limit block 0 under the relation number 0 (``src/backend/postmaster/walsummarizer.c``,
``src/include/common/blkreftable.h``). Free space maps are not in it. The functions that read summaries are open to
every role (manual, section 9.28 "WAL Summarization Information Functions").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.lsn import Lsn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from holdfast.postgres.connection import Connection
    from holdfast.postgres.timeline import Timeline

SINCE_MAJOR = 17

_PATIENCE_S = 30.0
_ASKED_EVERY_S = 0.02
_NO_RELATION = 0

_AVAILABLE = """
SELECT start_lsn::text, end_lsn::text FROM pg_available_wal_summaries()
 WHERE tli = %(timeline)s AND end_lsn > %(start)s::pg_lsn AND start_lsn < %(end)s::pg_lsn ORDER BY start_lsn, end_lsn
"""
_CONTENTS = """
SELECT reltablespace::int8, reldatabase::int8, relfilenode::int8, relblocknumber / %(blocks)s::int8, is_limit_block,
       string_agg(int4send((relblocknumber %% %(blocks)s::int8)::int4), ''::bytea)
  FROM pg_wal_summary_contents(%(timeline)s::int8, %(start)s::pg_lsn, %(end)s::pg_lsn)
 WHERE relforknumber = 0 GROUP BY 1, 2, 3, 4, 5
"""


class LsnRange(NamedTuple):
    """A stretch of WAL on one timeline; ``end`` is exclusive."""

    start: Lsn
    end: Lsn


class RelationNumber(NamedTuple):
    """A relation as WAL names it: the numbers (OIDs) of its tablespace and database, and that of its files."""

    tablespace: int
    database: int
    file_node: int


@dataclass
class NamedBlocks:
    """The blocks of main forks that summaries name; ``segment_blocks`` are in each file of a relation.

    It takes a bit for each block up to the last one named in a segment: 16 MiB for 1 TiB.
    """

    segment_blocks: int
    _written: dict[tuple[RelationNumber, int], NDArray[np.uint8]] = field(default_factory=dict)
    _limits: dict[RelationNumber, int] = field(default_factory=dict)

    def add_limit(self, relation: RelationNumber, block: int) -> None:
        """Take a limit block in: all from it on count as written."""
        self._limits[relation] = min(block, self._limits.get(relation, block))

    def add_written(self, relation: RelationNumber, segment: int, blocks: NDArray[np.int64]) -> None:
        """Take blocks of a segment in, counted from its beginning."""
        known = self._written.get((relation, segment), np.zeros(0, dtype=np.uint8))
        bits = np.zeros(max(int(blocks.max()) + 1, len(known) * 8), dtype=bool)
        bits[: len(known) * 8] = np.unpackbits(known)
        bits[blocks] = True
        self._written[relation, segment] = np.packbits(bits)

    def of(self, relation: RelationNumber, segment: int, count: int) -> NDArray[np.bool_]:
        """Return which of the first ``count`` blocks of a segment are named."""
        named = np.zeros(count, dtype=bool)
        if relation._replace(file_node=_NO_RELATION) in self._limits:
            return ~named
        bits = self._written.get((relation, segment))
        if bits is not None:
            written = np.unpackbits(bits, count=min(count, len(bits) * 8))
            named[: len(written)] = written
        if relation in self._limits:
            named[max(0, self._limits[relation] - segment * self.segment_blocks) :] = True
        return named


def read_summaries(conninfo: str, timeline: Timeline, wanted: LsnRange, segment_blocks: int) -> NamedBlocks:
    """Return the blocks that were written in a stretch of WAL; it may be more, and is never less.

    A connection of its own is opened for it: on that of a backup a query that fails would end the hold on the WAL.
    Waits some seconds for the summary that ends the stretch. ServerError where summaries do not cover all of it, or one
    cannot be read.
    """
    named = NamedBlocks(segment_blocks)
    with connect(conninfo) as connection:
        for summary in _covering(connection, timeline, wanted):
            _read(connection, timeline, summary, named)
    return named


def _covering(connection: Connection, timeline: Timeline, wanted: LsnRange) -> list[LsnRange]:
    """Return summaries that cover a stretch without a gap, once the server has made the last of them."""
    deadline = clock.monotonic() + _PATIENCE_S
    while True:
        found = _available(connection, timeline, wanted)
        covered = covered_until(found, wanted.start)
        if covered >= wanted.end:
            return found
        if _setting(connection) != "on" or clock.monotonic() > deadline or any(each.end > covered for each in found):
            raise _gap(connection, covered, wanted)
        clock.sleep(_ASKED_EVERY_S)


def covered_until(summaries: Sequence[LsnRange], start: Lsn) -> Lsn:
    """Return how far summaries, in order, reach from a position on without a gap."""
    for summary in summaries:
        if summary.start > start:
            break
        start = max(start, summary.end)
    return start


def summaries_are_off() -> ServerError:
    """Return the error for a server that makes no summaries."""
    return ServerError("summarize_wal is off", hint="set summarize_wal = on, then reload the server's configuration")


def _gap(connection: Connection, covered: Lsn, wanted: LsnRange) -> ServerError:
    if _setting(connection) != "on":
        return summaries_are_off()
    return ServerError(
        f"no summary covers the WAL from {covered} on, and it is needed to {wanted.end}",
        hint="let wal_summary_keep_time be longer than the time between two backups",
    )


def _available(connection: Connection, timeline: Timeline, wanted: LsnRange) -> list[LsnRange]:
    given = {"timeline": int(timeline), "start": str(wanted.start), "end": str(wanted.end)}
    with translated("asking for WAL summaries"):
        rows = connection.execute(_AVAILABLE, given).fetchall()
    return [LsnRange(Lsn.parse(start), Lsn.parse(end)) for start, end in rows]


def _read(connection: Connection, timeline: Timeline, summary: LsnRange, named: NamedBlocks) -> None:
    given = {
        "timeline": int(timeline),
        "start": str(summary.start),
        "end": str(summary.end),
        "blocks": named.segment_blocks,
    }
    with translated("reading a WAL summary"), connection.cursor(binary=True) as cursor:
        for *numbers, segment, is_limit, raw in cursor.execute(_CONTENTS, given):
            relation, blocks = RelationNumber(*numbers), np.frombuffer(raw, dtype=">i4").astype(np.int64)
            if is_limit:
                named.add_limit(relation, segment * named.segment_blocks + int(blocks.min()))
            else:
                named.add_written(relation, segment, blocks)


def _setting(connection: Connection) -> str:
    with translated("asking for summarize_wal"):
        row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'summarize_wal'").fetchone()
    return str(row[0]) if row is not None else ""
