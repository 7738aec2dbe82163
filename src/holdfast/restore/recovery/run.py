"""A recovery from the first record to the verified target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import TargetNotReachableError, VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.restore.recovery.judge import require_reached
from holdfast.restore.recovery.reached import Reached
from holdfast.services.postgres.recovery.state import Halt

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from holdfast.progress import Reporter
    from holdfast.restore.recovery.cluster import RecoveringCluster
    from holdfast.restore.recovery.judge import Expected
    from holdfast.services.postgres.recovery.state import ReplayState

_NOTICE_EVERY_S = 15


def bring_to_target(
    cluster: RecoveringCluster, expected: Expected, is_starved: Callable[[], bool], reporter: Reporter
) -> Reached:
    """Replay up to the target, and return what the server says it reached, which agrees with what was asked for.

    The cluster rests in recovery then, or has ended it, if the result says so (FAULTS 15). Raises
    TargetNotReachableError with how far it came, VerificationError where what the server says contradicts the target,
    ServerError where it gave up.
    """
    choice = expected.choice
    reporter.phase("replaying WAL", total_bytes=max(int(choice.proof.end) - choice.point.start, 0))
    halt, state = cluster.wait(_Progress(choice.point.start, reporter).watch, is_starved)

    reporter.phase("verifying what was reached")
    if halt is Halt.NO_MORE_WAL:
        state = cluster.pause()  # a live origin may archive more at any moment
    if halt is Halt.ENDED_ITSELF:
        timeline = choice.history.timeline_at(Lsn(max(state.lsn - 1, 0)))
        reached = Reached(state.lsn, timeline, state.last_commit, cluster.stopping_line, has_ended=True)
    else:
        reached = _read_reached(cluster, state)
    try:
        require_reached(expected, reached)
    except TargetNotReachableError as error:
        error.details = (*error.details, *cluster.telling_lines)
        raise
    if halt is Halt.NO_MORE_WAL and not reached.stopped:
        cluster.rest_here()
    return reached


class _Progress:
    """Tells the reporter how much WAL was replayed, and now and then how far that is."""

    def __init__(self, start: Lsn, reporter: Reporter) -> None:
        self._done = start
        self._reporter = reporter
        self._said_s = clock.monotonic()

    def watch(self, state: ReplayState) -> None:
        if state.lsn > self._done:
            self._reporter.advance(state.lsn - self._done)
            self._done = state.lsn
        if clock.monotonic() - self._said_s > _NOTICE_EVERY_S:
            self._said_s = clock.monotonic()
            self._reporter.notice(f"replayed up to {state.lsn}{_commit_words(state.last_commit)}")


def _commit_words(last_commit: datetime | None) -> str:
    return f", commits up to {clock.in_utc(last_commit)}" if last_commit else ""


def _read_reached(cluster: RecoveringCluster, state: ReplayState) -> Reached:
    """Return what was reached, from the server's memory and from its control file, which must agree."""
    written = cluster.write_down()
    if written.lsn != state.lsn:
        raise VerificationError(
            f"the server says that it replayed up to {state.lsn}, and its control file says {written.lsn}",
            hint="recover again; if this comes back, report it",
        )
    return Reached(state.lsn, written.timeline, state.last_commit, cluster.stopping_line)
