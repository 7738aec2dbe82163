"""Where "the latest" is not the latest: a gap in the archive ends recovery, though there is WAL behind it.

Whoever asks for all there is gets all that can be replayed, and must hear before anything happens that it is not all:
what was committed behind the gap does not come back from this snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.operations.wal.alerts import gap_words
from holdfast.restore.target import LatestGoal

if TYPE_CHECKING:
    from holdfast.progress import Reporter
    from holdfast.restore.select import Choice
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.gaps import Gap


def tell_of_gap(coverage: Coverage, target: RecoveryTarget, choice: Choice, reporter: Reporter) -> None:
    """Warn where recovery to the end of the WAL ends at a gap instead."""
    gap = _gap_on_the_way(coverage, choice) if isinstance(target.goal, LatestGoal) else None
    if gap is not None:
        reporter.warning(
            f"the archive has a gap: {gap_words(gap)}; recovery from snapshot {choice.point.id[:8]} ends at "
            f"{choice.proof.end}, and what was committed later does not come back; if the files turn up in pg_wal of "
            "the server or a standby, push them first (holdfast wal push)"
        )


def _gap_on_the_way(coverage: Coverage, choice: Choice) -> Gap | None:
    """Return the first gap behind what is proven to be there, on the way that recovery would go on."""
    ends = {entry.timeline: entry.end for entry in choice.way()}
    for gap in coverage.gaps:
        end = ends.get(gap.timeline)
        is_on_the_way = gap.timeline in ends and (end is None or gap.start < end)
        if is_on_the_way and gap.end > choice.proof.end:
            return gap
    return None
