"""A server whose timeline is farther in the archive than the server itself has written it.

Two standbys that did not know of one another's promotion take the same number for their timelines, and their history
files are the same where both left at the same place; a server that was rolled back to an older state of its disk goes
on with its old number, too. What such a server writes lies beside or behind what the other one has archived: no
recovery would ever read it, so it must not count as stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import VerificationError

if TYPE_CHECKING:
    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.replication import ReplicationConnection
    from holdfast.postgres.timeline import Timeline

REMEDY = (
    "stop the wrong one; if this one is to go on, take it to a timeline of its own (stop it, make standby.signal "
    "in its data directory, start it, SELECT pg_promote()), then run 'holdfast backup': no recovery crosses the place"
)
_KNOWN_WITHIN_S = 5.0
"""A server archives a segment a moment before it tells that it has flushed all of it (``XLogWrite`` in xlog.c)."""
_POLL_S = 0.2


class RivalTimelineError(VerificationError):
    """Another server has written this server's timeline before, and farther."""


def rival_words(timeline: Timeline, archived: Lsn, written: Lsn) -> str:
    """Return what is wrong, in words."""
    return (
        f"the archive has timeline {timeline} up to {archived}, and this server has written it up to {written} only: "
        "another server with the same past wrote that, or this one was rolled back"
    )


def require_no_rival(connection: ReplicationConnection, timeline: Timeline, archived: Lsn) -> None:
    """Raise RivalTimelineError when a primary has not written what the archive has of its timeline.

    A standby may be behind its primary, which archives too.
    """
    deadline = clock.monotonic() + _KNOWN_WITHIN_S
    while (system := connection.identify()).timeline == timeline and system.flushed < archived:
        if connection.setting("in_hot_standby") == "on":
            return
        if clock.monotonic() > deadline:
            raise RivalTimelineError(rival_words(timeline, archived, system.flushed), hint=REMEDY)
        clock.sleep(_POLL_S)
