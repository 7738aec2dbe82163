"""Getting the last WAL of the service into the archive, where something is looked for that may lie in it.

What was committed a minute ago may still lie in a segment that is not full. The server is asked to finish that segment,
and a while is given to whatever archives it, or to the receiver. Before, a transaction that does nothing is committed:
on an idle server, its time is what shows that nothing else happened up to now. Of a server that is down, the same WAL
lies in its ``pg_wal``, and is taken from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.errors import HoldfastError, PermissionRefusedError, ServerError, reason_of
from holdfast.operations.in_place.place import known_directory
from holdfast.operations.wal.receive import slot_name
from holdfast.operations.wiring import connection_string
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import one_row
from holdfast.postgres.ping import is_taking_connections
from holdfast.postgres.running import require_stopped
from holdfast.wal.ownership import NotAdoptedError, require_adopted
from holdfast.wal.remainder import find_remainder, store_remainder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.config.models import Stack
    from holdfast.postgres.connection import Connection
    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.remainder import Remainder

_WAIT_S = 30.0
_POLL_S = 0.1
_IS_STANDBY = "SELECT pg_is_in_recovery()"
_TELL_TIME = "SELECT pg_current_xact_id()"
"""A transaction that has an id leaves the record of its commit, with the time (``RecordTransactionCommit``, xact.c)."""
_ARCHIVES = "SELECT current_setting('archive_mode') <> 'off'"
_SWITCH = "SELECT pg_walfile_name(pg_switch_wal())"
# A standby's or an earlier timeline's file may be the last one: only this timeline's names compare.
_IS_ARCHIVED = """
SELECT coalesce(left(last_archived_wal, 24) >= %(segment)s AND left(last_archived_wal, 8) = left(%(segment)s, 8),
                false),
       failed_count >= %(failed)s + 3 FROM pg_stat_archiver
"""
_FAILED = "SELECT failed_count FROM pg_stat_archiver"
"""The server tries a file three times, then rests for a minute (NUM_ARCHIVE_RETRIES, pgarch.c)."""
_WRITTEN = "SELECT pg_current_wal_insert_lsn()::text"
_IS_RECEIVED = """
SELECT coalesce(bool_or(flush_lsn >= %(lsn)s::pg_lsn), false), count(flush_lsn) = 0
  FROM pg_replication_slots AS slot JOIN pg_stat_replication AS sender ON sender.pid = slot.active_pid
 WHERE slot_name = %(slot)s
"""


class CatchUp(Protocol):
    """Sees to it that the archive has what the service has committed last."""

    def __call__(self, stack: Stack, service: str, archived: ServiceArchive, reporter: Reporter) -> bool:
        """Return whether there may be more in the archive now."""
        ...


@dataclass(frozen=True)
class ServiceArchive:
    """The archive of a service's cluster; ``needed``: the first segment that its snapshots need, by timeline.

    ``data_directory``: where the cluster was at its newest snapshot; empty where that is not known.
    """

    archive: WalArchive
    segment_size: int
    needed: Mapping[Timeline, int]
    data_directory: str


def leave_archive_alone(stack: Stack, service: str, archived: ServiceArchive, reporter: Reporter) -> bool:  # noqa: ARG001
    """Change nothing: a dry run (a CatchUp)."""
    reporter.notice(
        "what is not archived yet does not count here: a dry run changes nothing, and the restore has it archived first"
    )
    return False


def let_archive_catch_up(stack: Stack, service: str, archived: ServiceArchive, reporter: Reporter) -> bool:
    """Have the server in service hand over all its WAL, and wait for that; or take it, where it is down (a CatchUp).

    Where neither can be done, nothing is; where it fails, only a notice says so.
    """
    if service not in stack.services:
        return False
    conninfo = connection_string(stack.services[service])
    if not is_taking_connections(conninfo):
        return _take_remainder(stack, service, archived, reporter)
    try:
        with connect(conninfo) as connection, translated("finishing the WAL segment"):
            if one_row(connection, _IS_STANDBY)[0]:
                return False
            reporter.phase("waiting for the latest WAL to be archived")
            return _hand_over(connection, slot_name(stack, service), reporter)
    except ServerError as error:
        reporter.notice(f"the latest WAL may not be in the archive yet: {error.message}")
        return False


def remainder_of(stack: Stack, service: str, archived: ServiceArchive) -> Remainder | None:
    """Return what a server that is down has not archived; None where that is nothing, or is not this cluster's.

    UsageError where it may be running after all, VerificationError, StorageError, PermissionRefusedError.
    """
    if service not in stack.services:
        return None
    # one that is down tells nobody where it is, and perhaps nothing was restored here yet: then the snapshot knows
    directory = known_directory(stack, service) or (Path(archived.data_directory) if archived.data_directory else None)
    if directory is None or (directory / "standby.signal").exists():
        return None
    require_stopped(directory)
    try:
        require_adopted(str(directory))
        return find_remainder(archived.archive, directory / "pg_wal", archived.segment_size, archived.needed)
    except (NotAdoptedError, FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PermissionRefusedError(
            f"cannot read {error.filename}: {reason_of(error)}",
            hint="run as the owner of the data directory or as root",
        ) from error


def _take_remainder(stack: Stack, service: str, archived: ServiceArchive, reporter: Reporter) -> bool:
    try:
        remainder = remainder_of(stack, service, archived)
        if remainder is None:
            return False
        reporter.notice(
            f"the server is down: its WAL from {remainder.segments[0].start} to {remainder.end} is not archived yet, "
            f"and is taken from {remainder.directory}"
        )
        if remainder.is_damaged:
            reporter.warning(
                f"the WAL of the server is damaged at {remainder.end}: what it committed after that does not come back"
            )
        store_remainder(archived.archive, remainder, reporter)
    except HoldfastError as error:
        reporter.warning(
            f"the server takes no connections, and its last WAL could not be taken from its directory: {error.message}"
        )
        return False
    return True


def _hand_over(connection: Connection, slot: str, reporter: Reporter) -> bool:
    one_row(connection, _TELL_TIME)
    if one_row(connection, _ARCHIVES)[0]:
        failed = one_row(connection, _FAILED)[0]
        segment = one_row(connection, _SWITCH)[0]
        is_there = _wait(lambda: one_row(connection, _IS_ARCHIVED, {"segment": segment, "failed": failed}))
        if not is_there:
            reporter.notice(f"WAL segment {segment} is not in the archive yet; 'holdfast wal status' tells why")
        return is_there
    written = {"lsn": one_row(connection, _WRITTEN)[0], "slot": slot}
    return _wait(lambda: one_row(connection, _IS_RECEIVED, written))


def _wait(look: Callable[[], tuple[bool, bool]]) -> bool:
    """Wait until ``look`` says that it is there, or that it will not come; return whether it is there."""
    deadline = clock.monotonic() + _WAIT_S
    while True:
        is_there, is_hopeless = look()
        if is_there or is_hopeless or clock.monotonic() > deadline:
            return is_there
        clock.sleep(_POLL_S)
