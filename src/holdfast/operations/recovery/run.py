"""Recover a restored cluster to a target that was planned and proven: replayed, verified, and ended as asked.

Two ways in, for whoever restores: ``recover`` does it all and leaves the directory as the target's action says;
``recovered`` yields the server halted at the verified target, to read from (a dump) or to promote and examine (a
staged restore).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError
from holdfast.operations.recovery.plan import require_binaries
from holdfast.operations.restore import restore
from holdfast.repository.cache import default_cache_root
from holdfast.restore.recovery.estimate import keep_restore_rate
from holdfast.restore.target import TargetAction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.operations.recovery.plan import PreparedRecovery
    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.restore.recovery.reached import Reached
    from holdfast.services.postgres.recovery.server import RecoveringServer


class RecoveredServer:
    """A running server that halted at its verified target: read-only until it is promoted. Private socket, no TCP."""

    def __init__(self, server: RecoveringServer, reached: Reached) -> None:
        self._server = server
        self.reached = reached

    def conninfo(self, *, user: str | None = None, dbname: str | None = None) -> str:
        """Return the connection string; by default as the superuser. Any role may connect, without a password."""
        return self._server.conninfo(user=user, dbname=dbname)

    def log(self) -> str:
        """Return all that the server wrote since recovery began."""
        return self._server.log()

    def promote(self) -> Timeline:
        """End recovery, wait until the server writes, and return its new timeline; archiving stays off."""
        timeline = self._server.promote()
        crashpoint.reach(CrashPoint.RECOVERY_PROMOTED)
        return timeline

    def stay_at_target(self) -> None:
        """Have the cluster halt here again when it is started later."""
        self._server.stay_at_target()

    def leave_running(self) -> None:
        """Let the server run on, paused, after this process."""
        self._server.leave_running()


@dataclass(frozen=True)
class Recovered:
    """How a recovery ended: what was reached, the new timeline of a promotion, how to connect to a waiting server."""

    reached: Reached
    new_timeline: Timeline | None = None
    conninfo: str | None = None


def restore_files(prepared: PreparedRecovery, reporter: Reporter) -> None:
    """Restore the files of the chosen snapshot, and remember how fast that was."""
    began = clock.monotonic()
    restore(prepared.restore, reporter)
    keep_restore_rate(default_cache_root(), prepared.restore.plan.size_bytes, clock.monotonic() - began)


@contextmanager
def recovered(prepared: PreparedRecovery, data_directory: Path, reporter: Reporter) -> Iterator[RecoveredServer]:
    """Recover the files in ``data_directory`` (where they were restored to) and yield the server.

    The server is stopped when the block ends. The directory then starts plainly, if it was promoted; if not, it is in
    recovery still. Raises TargetNotReachableError, with how far it came, when the server did not reach the target;
    the server is stopped then.
    """
    from holdfast.operations.recovery.server import Replay, replayed
    from holdfast.restore.marker import mark_recovered

    facts = prepared.restore.facts
    replay = Replay(
        expected=prepared.expected,
        archive=prepared.archive,
        binaries=require_binaries(prepared.restore),
        roles=prepared.roles,
        at_least=facts.recovery_settings,
        timelines=sorted(prepared.coverage.listing.timelines),
        cache=default_cache_root(),
    )
    with replayed(replay, data_directory, reporter) as (server, reached):
        mark_recovered(data_directory, reached.as_facts(prepared.target))
        yield RecoveredServer(server, reached)


def recover(prepared: PreparedRecovery, data_directory: Path, reporter: Reporter) -> Recovered:
    """Recover the files in ``data_directory`` and end as the target's action says; return how it ended.

    PROMOTE: promoted and stopped in order; starts plainly. SHUTDOWN: stopped; halts there again. PAUSE: left running.
    ServerError when it was to rest there and the server had ended recovery by itself (FAULTS 15).
    """
    with recovered(prepared, data_directory, reporter) as server:
        _require_action(prepared.target.action, server.reached)
        match prepared.target.action:
            case TargetAction.PROMOTE:
                reporter.phase("promoting")
                return Recovered(server.reached, new_timeline=server.promote())
            case TargetAction.PAUSE:
                conninfo = server.conninfo()
                server.leave_running()
                return Recovered(server.reached, conninfo=conninfo)
            case TargetAction.SHUTDOWN:
                server.stay_at_target()
                return Recovered(server.reached)


def _require_action(action: TargetAction, reached: Reached) -> None:
    if reached.has_ended and action is not TargetAction.PROMOTE:
        raise ServerError(
            f"the server reached the target at {reached.lsn}, but ended recovery there: it could not {action.value}",
            hint="the data is right, on a timeline of its own; a later target or another snapshot may let it rest",
        )
