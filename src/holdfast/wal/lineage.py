"""Which timeline comes from which: the histories of an archive, and what follows where one of them is missing.

A history names every ancestor, so the history of a timeline whose own file is missing can be taken from a
descendant's. Where there is none either, the timeline stands alone: nothing before it counts as its past.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.timeline import HistoryEntry, Timeline, TimelineHistory, first_history

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Branch:
    """A timeline was left at ``lsn`` for ``child``."""

    parent: Timeline
    child: Timeline
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class Lineage:
    """The past of every known timeline; ``missing`` are those with WAL in the archive, but no history file there."""

    histories: Mapping[Timeline, TimelineHistory]
    missing: frozenset[Timeline]

    def history(self, timeline: Timeline) -> TimelineHistory:
        """Return the past of a timeline, also of one that nothing is known of: it stands alone then."""
        return self.histories.get(timeline) or _alone(timeline)

    def branches(self) -> Iterator[Branch]:
        """Yield where each timeline left its parent."""
        for timeline, history in sorted(self.histories.items()):
            if len(history.entries) > 1:
                parent = history.entries[-2]
                yield Branch(parent.timeline, timeline, parent.end or NO_LSN)

    def switch_offsets(self, segment_size: int) -> dict[Timeline, dict[int, int]]:
        """Return how far the last segment of each timeline is its own, where it was left in the middle of one.

        Where two children left it within the same segment the first switch counts: no more is certain to be in the
        ``.partial`` of that segment, which either of the two may have archived.
        """
        offsets: dict[Timeline, dict[int, int]] = {}
        for branch in self.branches():
            number, offset = divmod(branch.lsn, segment_size)
            if offset:
                own = offsets.setdefault(branch.parent, {})
                own[number] = min(offset, own.get(number, segment_size))
        return offsets


def trace_lineage(
    histories: Mapping[Timeline, TimelineHistory], known: Iterable[Timeline], missing: Iterable[Timeline]
) -> Lineage:
    """Return the lineage of the ``known`` timelines and of all ancestors that ``histories`` name."""
    traced = with_ancestors(histories)
    for timeline in known:
        traced.setdefault(timeline, _alone(timeline))
    return Lineage(traced, frozenset(missing) - {Timeline(1)})


def with_ancestors(histories: Mapping[Timeline, TimelineHistory]) -> dict[Timeline, TimelineHistory]:
    """Return the histories, and those of all the ancestors that they name."""
    traced = dict(histories)
    for history in histories.values():
        for length, entry in enumerate(history.entries[:-1]):
            own = (*history.entries[:length], HistoryEntry(entry.timeline, entry.begin, None))
            traced.setdefault(entry.timeline, TimelineHistory(own))
    return traced


def _alone(timeline: Timeline) -> TimelineHistory:
    if timeline == 1:
        return first_history()
    return TimelineHistory((HistoryEntry(timeline, NO_LSN, None),))
