"""A restored cluster brought to its target, with the archive behind it: the server, and what supplies it with WAL."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import NotFoundError, ServerError
from holdfast.postgres.account import server_account
from holdfast.postgres.lsn import MAX_LSN, Lsn
from holdfast.postgres.segment import history_name, is_segment_name
from holdfast.restore.recovery.estimate import keep_replay_rate
from holdfast.restore.recovery.guard import TablespaceGuard
from holdfast.restore.recovery.run import bring_to_target
from holdfast.restore.target import ImmediateGoal, LsnGoal, NameGoal, TimeGoal, XidGoal
from holdfast.services.postgres.recovery.server import RecoveringServer, SettingsTooLowError
from holdfast.services.postgres.recovery.settings import (
    WHEN_CONSISTENT,
    RecoverySettings,
    StopPoint,
    stop_at_lsn,
    stop_at_restore_point,
    stop_at_time,
    stop_at_xid,
)
from holdfast.wal.restore_command import SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.restore.recovery.judge import Expected
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.target import RecoveryTarget
    from holdfast.wal.archive import WalArchive

_RESTARTS = 8
"""A server names one setting that is too low at a time, of five."""
_STARVED_AFTER_S = 8.0
_STARVED_QUESTIONS = 5
_PART_BYTES = 1 << 20
_XID_MODULUS = 2**32


@dataclass(frozen=True)
class Replay:
    """What is needed to replay: ``roles`` may exist in the cluster; ``at_least`` are the origin's settings, by name.

    ``timelines`` are all of which the archive has WAL or a history file: none, where it has nothing of this cluster.
    """

    expected: Expected
    archive: WalArchive
    binaries: Binaries
    roles: Sequence[str]
    at_least: dict[str, str]
    timelines: Sequence[Timeline]
    cache: Path


@contextmanager
def replayed(replay: Replay, data_directory: Path, reporter: Reporter) -> Iterator[tuple[RecoveringServer, Reached]]:
    """Yield the server halted at the verified target, with what it reached; it is stopped at the end of the block.

    A server whose settings are lower than the origin's were meanwhile is started again with those.
    """
    _place_histories(replay, data_directory)
    settings = _settings(replay)
    guard = TablespaceGuard(replay.expected.choice.point.start, _end_of_replay(replay.expected))
    _inspect_own_wal(guard, data_directory)
    log = ""
    for _ in range(_RESTARTS):
        with _supplied(replay, data_directory, guard) as supply:
            server = RecoveringServer(
                replay.binaries,
                data_directory,
                replace(settings, restore_command=_command(supply)),
                replay.roles,
                log,
            )
            try:
                with server:
                    reached = _bring_to_target(server, replay, supply, reporter)
                    yield server, reached
                    return
            except SettingsTooLowError as error:
                reporter.notice(f"{error.message}, more than its configuration says: starting again with that")
                settings = replace(settings, at_least={**settings.at_least, **error.needed})
                log = server.log()
    raise ServerError("recovery asks for ever higher settings", hint="look at the log of the server")


def _bring_to_target(server: RecoveringServer, replay: Replay, supply: WalSupply | None, reporter: Reporter) -> Reached:
    began = clock.monotonic()
    crashpoint.reach(CrashPoint.RECOVERY_STARTED)
    try:
        reached = bring_to_target(server, replay.expected, _Starvation(supply).is_there, reporter)
    except SettingsTooLowError:
        raise
    except ServerError:
        if supply is not None and supply.failure is not None:
            raise supply.failure from None  # why the server gave up: the archive refused it a file
        raise
    crashpoint.reach(CrashPoint.RECOVERY_REACHED)
    replayed_bytes = reached.lsn - replay.expected.choice.point.start
    keep_replay_rate(replay.cache, replayed_bytes, clock.monotonic() - began)
    return reached


class _Starvation:
    """Whether a server that takes no connections yet asks for WAL again and again, and nothing can be handed over."""

    def __init__(self, supply: WalSupply | None) -> None:
        self._supply = supply
        self._since_s = clock.monotonic()
        self._segments = self._waits = 0

    def is_there(self) -> bool:
        if self._supply is None:
            return False
        served = self._supply.served
        if served.segments != self._segments:
            self._since_s, self._segments, self._waits = clock.monotonic(), served.segments, served.waits
        has_asked = served.waits - self._waits > _STARVED_QUESTIONS
        return has_asked and clock.monotonic() - self._since_s > _STARVED_AFTER_S


@contextmanager
def _supplied(replay: Replay, data_directory: Path, guard: TablespaceGuard) -> Iterator[WalSupply | None]:
    """Yield a supply of WAL, None where the archive has nothing: then the snapshot's own WAL must do."""
    if not replay.timelines:
        yield None
        return
    choice = replay.expected.choice
    spool = data_directory / "pg_wal" / SPOOL_NAME
    options = SupplyOptions(server_account(data_directory), inspect=guard.inspected)
    with WalSupply(replay.archive, choice.history, spool, choice.segment_size, options) as supply:
        yield supply


def _inspect_own_wal(guard: TablespaceGuard, data_directory: Path) -> None:
    """Look through the WAL that the snapshot brought along: the server takes it where the archive has none."""
    for path in sorted((data_directory / "pg_wal").iterdir()):
        if is_segment_name(path.name):
            with path.open("rb") as file:
                deque(guard.inspected(iter(partial(file.read, _PART_BYTES), b"")), maxlen=0)


def _end_of_replay(expected: Expected) -> Lsn:
    """Return a position before which recovery stops, whatever else the archive has."""
    if isinstance(expected.target.goal, LsnGoal):
        return expected.target.goal.lsn
    return expected.position.end if expected.position is not None else Lsn(MAX_LSN)


def _command(supply: WalSupply | None) -> str:
    """Return the restore_command. A server that outlives the supply (a pause) finds nothing, instead of giving up."""
    if supply is None:
        return ""
    return f"test -d pg_wal/{SPOOL_NAME} || exit 1; {supply.restore_command}"


def _settings(replay: Replay) -> RecoverySettings:
    expected = replay.expected
    return RecoverySettings(stop_point(expected.target), expected.choice.history.timeline, "", replay.at_least)


def stop_point(target: RecoveryTarget) -> StopPoint | None:
    """Return a target as PostgreSQL's settings have it; None for the end of the WAL."""
    match target.goal:
        case TimeGoal(at):
            return stop_at_time(at, is_inclusive=target.is_inclusive)
        case LsnGoal(lsn):
            return stop_at_lsn(lsn, is_inclusive=target.is_inclusive)
        case XidGoal(xid):
            return stop_at_xid(xid % _XID_MODULUS, is_inclusive=target.is_inclusive)
        case NameGoal(name):
            return stop_at_restore_point(name)
        case ImmediateGoal():
            return WHEN_CONSISTENT
        case _:
            return None


def _place_histories(replay: Replay, data_directory: Path) -> None:
    """Put every history file of the archive into ``pg_wal``, so that a promotion makes a timeline that is new.

    Of a timeline with WAL whose history file is lost, a stand-in keeps the number taken: no file is as good as a file
    that names no ancestors (``readTimeLineHistory``).

    The server looks for them there when its ``restore_command`` finds none (``existsTimeLineHistory`` in
    ``src/backend/access/transam/timeline.c``); a cluster that is left paused is promoted without us.
    """
    account = server_account(data_directory)
    for timeline in replay.timelines:
        path = data_directory / "pg_wal" / history_name(timeline)
        if timeline == 1 or path.exists():
            continue
        try:
            content = bytes(replay.archive.get(history_name(timeline)))
        except NotFoundError:
            content = b""
        path.write_bytes(content)
        path.chmod(0o600)
        account.take_over(path)
