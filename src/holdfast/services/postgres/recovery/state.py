"""What a server in recovery says of itself, over one connection as the cluster's first superuser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.connection import Connection, connect, translated
from holdfast.postgres.facts import one_row, read_timeline
from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.segment import history_name
from holdfast.postgres.timeline import Timeline, TimelineHistory, parse_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

# The two functions fail outside recovery, and recovery may end at any moment: CASE does not protect from that.
_STATE = """
SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp(), pg_is_in_recovery(),
       (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup')
"""
_PAUSE = "SELECT pg_get_wal_replay_pause_state()"
# Twice: the second restart point has nothing to do but to write down how far replay has come (CreateRestartPoint and
# UpdateMinRecoveryPoint in src/backend/access/transam/xlog.c).
_WRITE_DOWN = ("CHECKPOINT", "CHECKPOINT")
_WRITTEN_DOWN = """
SELECT min_recovery_end_lsn::text, min_recovery_end_timeline FROM pg_control_recovery()
"""
_FIRST_SUPERUSER = "SELECT rolname FROM pg_roles WHERE oid = 10"  # BOOTSTRAP_SUPERUSERID, src/include/catalog/pg_authid
_WAITS_FOR_WAL = "RecoveryRetrieveRetryInterval"  # manual, table 28.10 "Wait Events of Type Timeout"
_DATABASES = ("postgres", "template1")


class Halt(Enum):
    """Why a recovering server rests."""

    AT_TARGET = "it halted at its target"
    NO_MORE_WAL = "it replayed all the WAL there is"
    ENDED_ITSELF = "it ended recovery by itself"


@dataclass(frozen=True, slots=True)
class ReplayState:
    """One look: ``lsn`` is the end of the last replayed record, ``last_commit`` the time of the last transaction's end.

    ``lacks_wal``: the server found the next segment nowhere, and waits to look again.
    """

    lsn: Lsn
    last_commit: datetime | None
    is_in_recovery: bool
    is_paused: bool
    lacks_wal: bool


@dataclass(frozen=True, slots=True)
class WrittenState:
    """What the control file says: how far replay came, and on which timeline."""

    lsn: Lsn
    timeline: Timeline


class Observer:
    """One connection to a server in recovery. Not for several threads at once."""

    def __init__(self, connection: Connection) -> None:
        """Use an open connection of a superuser."""
        self._connection = connection

    @classmethod
    def connect(cls, conninfo: Callable[..., str], roles: Iterable[str]) -> Observer:
        """Connect as the first superuser, whose name any of ``roles`` that exists may ask for."""
        connection = _first_that_answers(conninfo, roles)
        with connection, translated("asking for the superuser"):
            superuser = one_row(connection, _FIRST_SUPERUSER)[0]
            database = connection.info.dbname
        connection.close()
        return cls(connect(conninfo(user=superuser, dbname=database)))

    @property
    def role(self) -> str:
        """The name of the superuser."""
        return str(self._connection.info.user)

    @property
    def database(self) -> str:
        """The database that is used: that one exists."""
        return str(self._connection.info.dbname)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def look(self) -> ReplayState:
        """Return the state of replay; of one that is paused, what it came to."""
        state = self._replaying()
        if state.is_in_recovery and self._is_paused():
            return replace(self._replaying(), is_paused=True)  # asked again: it went on until it was paused
        return state

    def _replaying(self) -> ReplayState:
        with translated("asking how far recovery has come"):
            lsn, last_commit, is_in_recovery, wait = one_row(self._connection, _STATE)
        return ReplayState(
            lsn=Lsn.parse(lsn) if lsn else NO_LSN,
            last_commit=last_commit,
            is_in_recovery=is_in_recovery,
            is_paused=False,
            lacks_wal=wait == _WAITS_FOR_WAL,
        )

    def write_down(self) -> WrittenState:
        """Have the server write its state into the control file, and return that; only while replay rests."""
        with translated("asking what recovery has reached"):
            for statement in _WRITE_DOWN:
                self._connection.execute(statement)
            lsn, timeline = one_row(self._connection, _WRITTEN_DOWN)
        return WrittenState(Lsn.parse(lsn), Timeline(timeline))

    def pause(self) -> None:
        """Have replay rest, also when more WAL appears."""
        with translated("pausing recovery"):
            self._connection.execute("SELECT pg_wal_replay_pause()")

    def promote(self, timeout_s: int) -> Timeline:
        """End recovery, if it has not ended, and return the new timeline; ServerError after ``timeout_s``."""
        if not self.look().is_in_recovery:
            return read_timeline(self._connection)
        with translated("promoting the recovered cluster"):
            query = "SELECT pg_promote(wait => true, wait_seconds => %(seconds)s)"
            if not one_row(self._connection, query, {"seconds": timeout_s})[0]:
                raise ServerError(f"the recovered cluster was not promoted within {timeout_s} s", hint="try again")
        return read_timeline(self._connection)

    def history(self) -> TimelineHistory:
        """Return the past of the timeline that the server writes, as it wrote it down when recovery ended."""
        timeline = read_timeline(self._connection)
        with translated("asking where recovery has ended"):
            name = f"pg_wal/{history_name(timeline)}"
            text = one_row(self._connection, "SELECT pg_read_file(%(name)s)", {"name": name})[0]
        return parse_history(timeline, text)

    def _is_paused(self) -> bool:
        try:
            with translated("asking whether recovery is paused"):
                return bool(one_row(self._connection, _PAUSE)[0] == "paused")
        except ServerError:
            if self._connection.closed:
                raise
            return False  # recovery has just ended


def _first_that_answers(conninfo: Callable[..., str], roles: Iterable[str]) -> Connection:
    refusal: ServerError | None = None
    for role in roles:
        for database in _DATABASES:
            try:
                return connect(conninfo(user=role, dbname=database))
            except ServerError as error:
                refusal = error
    raise refusal or ServerError("no role is known to connect as")
