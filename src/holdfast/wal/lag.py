"""How far the archive is behind the server: in bytes, in segments, and in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline
    from holdfast.wal.coverage import Coverage


@dataclass(frozen=True, slots=True)
class Lag:
    """WAL that the server has and the archive lacks; ``segments`` counts those of which anything is missing.

    ``seconds``: no WAL older than that is missing; None where nothing tells. ``archived``: where the archive's newest
    WAL on the server's timeline ends.
    """

    size_bytes: int
    segments: int
    seconds: float | None
    archived: Lsn | None = None


def measure_lag(coverage: Coverage, timeline: Timeline, lsn: Lsn, now: datetime) -> Lag | None:
    """Return how far the archive is behind a server whose WAL ends at ``lsn``; None where it holds nothing yet.

    Holes on the way do not count: they are gaps, and will never be filled.
    """
    size = coverage.segment_size
    held = coverage.holdings.get(timeline)
    last = held.last if held else None
    if held is None or last is None:
        begin = coverage.lineage.history(timeline).entries[-1].begin
        return _lag(lsn, begin, size, None) if begin else None
    part = held.parts.get(last)
    newest = held.segment(last)
    archived = newest.start + part.length_bytes if part else newest.stop
    when = held.archived_at(last)
    return _lag(lsn, archived, size, None if when is None else max((now - when).total_seconds(), 0.0))


def _lag(lsn: Lsn, archived: Lsn, size: int, age_s: float | None) -> Lag:
    if lsn <= archived:
        return Lag(0, 0, 0.0, archived)
    return Lag(lsn - archived, (lsn - 1) // size - archived // size + 1, age_s, archived)
