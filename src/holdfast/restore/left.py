"""Which timelines were left again: by an undo, or because what was restored did not work in service and was put back.

PostgreSQL takes the highest timeline for the latest. An undo goes back to a lower one, whose cluster writes on: the
highest is then the one that nobody wants any more, and recovery to the latest state would silently end on it. The
archive cannot tell; the journal of what was done in place can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.repository.journal import JournalEntry
    from holdfast.wal.lineage import Lineage


def left_timelines(entries: Iterable[JournalEntry], system_identifier: str, lineage: Lineage) -> frozenset[Timeline]:
    """Return the timelines of a cluster that were in service, and are no part of what came after them.

    ``entries`` are the deeds of its service, oldest first.
    """
    left: set[Timeline] = set()
    for entry in entries:
        gone, come = entry.identity_was, entry.identity_became
        if entry.result == "put back":
            gone, come = come, gone
        elif entry.result != "done":
            continue
        kept = _past(come, system_identifier, lineage)
        if kept:  # a deed that brought another cluster, or a damaged one, tells nothing of this one's timelines
            left = (left | _past(gone, system_identifier, lineage)) - kept
    return frozenset(left)


def _past(identity: str, system_identifier: str, lineage: Lineage) -> set[Timeline]:
    """Return the timelines that lead to a cluster and its own; none for that of another system identifier."""
    number, _, timeline = identity.partition("/")
    if number != system_identifier or not timeline.isdecimal():
        return set()
    return {entry.timeline for entry in lineage.history(Timeline(int(timeline))).entries}
