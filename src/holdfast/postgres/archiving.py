"""What a server says of its archiving: where its WAL ends, what it counts as archived, what waits, what a slot holds.

``pg_stat_archiver`` believes whatever ``archive_command`` returned (manual, section 28.2): it is compared with the
archive by whoever asks, never taken for the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.postgres.connection import Connection, connect, translated
from holdfast.postgres.facts import one_row, read_timeline
from holdfast.postgres.lsn import Lsn

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.postgres.timeline import Timeline

_POSITION = """
SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_lsn() END::text,
       (SELECT bytes_per_wal_segment FROM pg_control_init()), current_setting('archive_mode'),
       current_setting('data_directory'), clock_timestamp()
"""

_ARCHIVER = """
SELECT last_archived_wal, last_archived_time, failed_count, last_failed_wal, last_failed_time FROM pg_stat_archiver
"""

# Open to superusers and pg_monitor (manual, section 9.28.9 "Generic File Access Functions").
_MAY_SEE_QUEUE = "SELECT has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE')"
_QUEUE = r"""
SELECT coalesce(array_agg(left(name, -6)), '{}'), min(modification)
  FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}(\.partial)?\.ready$'
"""

# wal_status: manual, section 54.19 "pg_replication_slots".
_SLOT = """
SELECT active, restart_lsn::text, wal_status, pg_wal_lsn_diff(%(lsn)s::pg_lsn, restart_lsn)::bigint,
       current_setting('synchronous_standby_names')
  FROM pg_replication_slots WHERE slot_name = %(name)s
"""
_UNSIGNED_64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """A replication slot. ``wal_status`` is PostgreSQL's word: reserved, extended, unreserved or lost.

    ``synchronous_standbys`` is the server's setting: whom a COMMIT waits for.
    """

    name: str
    is_active: bool
    restart_lsn: str | None
    wal_status: str | None
    retained_bytes: int | None
    synchronous_standbys: str


@dataclass(frozen=True, slots=True)
class ArchiverFacts:
    """What the server counts: the last file that ``archive_command`` said it had stored, and the last that failed."""

    last_archived: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed: str | None
    last_failed_time: datetime | None

    @property
    def failing_at(self) -> datetime | None:
        """When the last attempt failed; None where it did not, or there was none."""
        failed, archived = self.last_failed_time, self.last_archived_time
        return failed if failed and (archived is None or failed > archived) else None


@dataclass(frozen=True, slots=True)
class ArchivingFacts:
    """A server's archiving at one moment. ``lsn`` is where its WAL ends; ``waiting`` names segments, where it may say.

    ``slot`` is None where none was asked for, or the one asked for is not there.
    """

    system_identifier: str
    is_standby: bool
    timeline: Timeline
    lsn: Lsn
    segment_size: int
    archive_mode: str
    data_directory: str
    server_time: datetime
    archiver: ArchiverFacts
    waiting: frozenset[str] | None
    waiting_since: datetime | None
    slot: SlotFacts | None


def ask_archiving(conninfo: str, slot_name: str | None) -> ArchivingFacts:
    """Ask a server; ServerUnreachableError when it does not answer, ServerError when it refuses."""
    connection = connect(conninfo)
    with connection, translated("asking the server about its archiving"):
        identifier, is_standby, lsn, segment_size, mode, directory, now = one_row(connection, _POSITION)
        waiting, since = _queue(connection)
        return ArchivingFacts(
            system_identifier=str(identifier & _UNSIGNED_64),
            is_standby=is_standby,
            timeline=read_timeline(connection),
            lsn=Lsn.parse(lsn),
            segment_size=segment_size,
            archive_mode=mode,
            data_directory=directory,
            server_time=now,
            archiver=ArchiverFacts(*one_row(connection, _ARCHIVER)),
            waiting=waiting,
            waiting_since=since,
            slot=_slot(connection, slot_name, lsn) if slot_name else None,
        )


def _queue(connection: Connection) -> tuple[frozenset[str] | None, datetime | None]:
    if not one_row(connection, _MAY_SEE_QUEUE)[0]:
        return None, None
    names, since = one_row(connection, _QUEUE)
    return frozenset(names), since


def _slot(connection: Connection, name: str, lsn: str) -> SlotFacts | None:
    row = connection.execute(_SLOT.encode(), {"name": name, "lsn": lsn}).fetchone()
    return None if row is None else SlotFacts(name, *row)
