"""Which way recovery goes through the timelines: what it will ask for next, and where a timeline ends for it.

PostgreSQL asks for a segment on the newest timeline of the target's history that had begun by then, and on older ones
only when the archive lacks it there (``XLogFileReadAnyTLI`` in ``src/backend/access/transam/xlogrecovery.c``). It would
then replay an older timeline past the point where it was left, so a segment is cut off there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast.postgres.segment import Segment, parse_segment_name

if TYPE_CHECKING:
    from holdfast.postgres.timeline import Timeline, TimelineHistory


class Route:
    """The way of one recovery. ``history`` is that of the target timeline; None: learned from what recovery reads.

    ``own`` is the timeline that recovery begins on, where that is known. May be used from several threads.
    """

    def __init__(self, history: TimelineHistory | None, segment_size: int, own: Timeline | None = None) -> None:
        self.segment_size = segment_size
        self._own = own or 1
        self._history, self._is_given = history, history is not None
        self._lock = threading.Lock()

    def learn(self, history: TimelineHistory) -> None:
        """Take note of a history file that recovery read: the newest that it reads is that of its target."""
        with self._lock:
            if not self._is_given and (self._history is None or self._history.timeline < history.timeline):
                self._history = history

    def segment(self, name: str) -> Segment:
        """Return the segment of a name; VerificationError when it is none of this size."""
        return parse_segment_name(name, self.segment_size)

    def after(self, name: str, count: int) -> list[str]:
        """Return the ``count`` segments that recovery will ask for after this one."""
        segment = self.segment(name)
        numbers = range(segment.number + 1, segment.number + 1 + count)
        return [Segment(self._timeline(segment, number), number, self.segment_size).name for number in numbers]

    def own_bytes(self, segment: Segment) -> int:
        """Return how many bytes of a segment recovery may read: less than all where its timeline was left in it."""
        with self._lock:
            entries = self._history.entries if self._history else ()
        end = next((entry.end for entry in entries if entry.timeline == segment.timeline), None)
        is_left_here = end is not None and segment.start < end < segment.stop
        return end - segment.start if end is not None and is_left_here else segment.size_bytes

    def leads_past(self, segment: Segment) -> bool:
        """Whether recovery must read all of a segment, as its timeline was left for the next one only after it."""
        with self._lock:
            entries = self._history.entries if self._history else ()
        end = next((entry.end for entry in entries if entry.timeline == segment.timeline), None)
        return end is not None and end >= segment.stop

    def depends_on(self, timeline: Timeline) -> bool:
        """Whether the way is another one with the history of a timeline than without it.

        PostgreSQL asks for the history files of newer timelines, one by one, to learn which is the latest, or free
        (``findNewestTimeLine`` in ``src/backend/access/transam/timeline.c``). It needs neither its own nor those that
        lie between: the target's names all ancestors (``restoreTimeLineHistoryFiles``).
        """
        with self._lock:
            known = self._history.timeline if self._history else 1
        return timeline > max(known, self._own)

    def _timeline(self, segment: Segment, number: int) -> Timeline:
        with self._lock:
            entries = self._history.entries if self._history else ()
        if segment.timeline not in {entry.timeline for entry in entries}:
            return segment.timeline
        begun = [entry.timeline for entry in entries if entry.begin // self.segment_size <= number]
        return begun[-1]
