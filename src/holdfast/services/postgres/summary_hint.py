"""WAL summaries as a hint (a PageHint): main forks of relations are read only where the WAL since the parent wrote.

Every change of a page that reaches the disk must be in the WAL, or the summaries cannot know of it. So the hint is
refused unless pages carry checksums (then the server logs even hint bits, ``MarkBufferDirtyHint`` in
``src/backend/storage/buffer/bufmgr.c``), and unless the server has been running since before the parent was taken:
what is done to a stopped cluster (``pg_checksums``, a copy put in its place, a setting that needs a restart) leaves no
trace in the WAL. The other forks are read always: free space maps are not in the WAL, and summaries have been wrong
about visibility maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.datadir import Fork, classify
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.page import page_lsn
from holdfast.postgres.wal_summaries import SINCE_MAJOR, LsnRange, RelationNumber, read_summaries, summaries_are_off
from holdfast.services.postgres.activity import place_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from holdfast.postgres.facts import ServerFacts
    from holdfast.postgres.wal_summaries import NamedBlocks
    from holdfast.repository.manifest import Entry
    from holdfast.repository.parent import Parent


@dataclass(frozen=True)
class SummaryHint:
    """What the summaries from the parent's start to this backup's ``start`` name."""

    blocks: NamedBlocks
    start: Lsn

    def named(self, entry: Entry, count: int) -> NDArray[np.bool_] | None:
        """Return which of the first ``count`` pages of a file were written to; None for what is no main fork."""
        relation, place = classify(entry.path).relation, place_of(entry.path)
        if relation is None or place is None or relation.fork is not Fork.MAIN:
            return None
        return self.blocks.of(RelationNumber(*place, relation.file_node), relation.segment, count)

    def explains(self, page: memoryview) -> bool:
        """Whether a page was written to since the backup began: it carries the LSN of its last change."""
        return page_lsn(page) >= self.start


def ask_summaries(conninfo: str, facts: ServerFacts, parent: Parent, start: Lsn) -> SummaryHint:
    """Return what summaries say of the time since ``parent``; ServerError says why they cannot be a hint."""
    require_summaries_fit(facts)
    if not facts.started or parent.facts.get("server_started") != facts.started:
        raise ServerError(
            "the server was started since the last backup, and what was done meanwhile is not in the WAL",
            hint="the next backup may follow them again",
        )
    since = Lsn.parse(parent.facts["start_lsn"])
    if Lsn.parse(parent.facts["stop_lsn"]) > start:  # a machine that was put back while it ran does not start anew
        raise ServerError(
            f"the last backup ended at {parent.facts['stop_lsn']}, and the server is at {start} only",
            hint="the next backup may follow them again",
        )
    wanted = LsnRange(since, start)
    return SummaryHint(read_summaries(conninfo, facts.timeline, wanted, facts.relation_segment_blocks), start)


def require_summaries_fit(facts: ServerFacts) -> None:
    """Raise ServerError where summaries can be no hint, whatever they say."""
    if facts.major < SINCE_MAJOR:
        raise ServerError(f"PostgreSQL {facts.major} has none", hint=f"they exist since PostgreSQL {SINCE_MAJOR}")
    if facts.is_standby:
        raise ServerError("the server is a standby", hint="they are followed on a primary only: back that up")
    if not facts.summarizes_wal:
        raise summaries_are_off()
    if not facts.has_data_checksums:
        raise ServerError(
            "page checksums are off, so pages change without WAL",
            hint="stop the server, run 'pg_checksums --enable' on its data directory, start it",
        )
