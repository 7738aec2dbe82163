"""A running server, as a backup needs it: what it is, the frame of a backup, and WAL that is not recycled meanwhile.

The backup's frame and the replication slot live as long as this connection: whatever ends it, also a kill, frees the
server (manual, section 26.3.4 "Making a Base Backup Using the Low Level API"). A query that fails drops temporary slots
(``ReplicationSlotCleanup`` in ``PostgresMain``): once the WAL is held, any error ends the backup.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psycopg

from holdfast.errors import ServerError
from holdfast.postgres import facts, role
from holdfast.postgres.connection import Connection, connect, translated
from holdfast.postgres.lsn import Lsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from types import TracebackType

    from holdfast.postgres.facts import ServerFacts, Tablespace
    from holdfast.postgres.timeline import Timeline

# pg_start_backup and pg_stop_backup were renamed in 15, and lost their exclusive mode.
_START = "SELECT pg_backup_start(label => %(label)s, fast => %(fast)s)::text"
_START_14 = "SELECT pg_start_backup(label => %(label)s, fast => %(fast)s, exclusive => false)::text"
_STOP_COLUMNS = """
SELECT lsn::text, convert_to(labelfile, getdatabaseencoding()), convert_to(spcmapfile, getdatabaseencoding()),
       clock_timestamp() FROM
"""
_STOP = _STOP_COLUMNS + "pg_backup_stop(wait_for_archive => false)"
_STOP_14 = _STOP_COLUMNS + "pg_stop_backup(exclusive => false, wait_for_archive => false)"

_HOLD = """
SELECT lsn::text FROM pg_create_physical_replication_slot(%(name)s, immediately_reserve => true, temporary => true)
"""
_LOSE = "SELECT pg_drop_replication_slot(%(name)s)"


@dataclass(frozen=True, slots=True)
class BackupEnd:
    """What the server gives at the end of a backup; the two files' bytes belong into the restored data directory.

    ``lsn`` is exclusive: WAL is needed up to it. ``tablespace_map`` is empty without tablespaces elsewhere. ``time`` is
    the server's (aware), just after it.
    """

    lsn: Lsn
    label: bytes
    tablespace_map: bytes
    time: datetime


@dataclass(frozen=True, slots=True)
class WalHold:
    """A temporary replication slot: the server keeps all WAL from ``lsn`` on until the connection ends."""

    slot_name: str
    lsn: Lsn


class Server:
    """One connection to a server. Not for several threads at once."""

    def __init__(self, connection: Connection) -> None:
        """Use an open connection; ``Server.connect`` makes one."""
        self._connection = connection

    @classmethod
    def connect(cls, conninfo: str) -> Self:
        """Connect, with timeouts off and keepalives on; errors as in ``connection.connect``."""
        return cls(connect(conninfo))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """End the connection: a backup under way is aborted on the server, and held WAL is let go."""
        self._connection.close()

    @property
    def major(self) -> int:
        """The server's major version."""
        return self._connection.info.server_version // 10000

    def probe(self) -> ServerFacts:
        """Return what the server says of itself; ServerError when it is not supported or the role may not see it."""
        return facts.read_facts(self._connection)

    @contextmanager
    def exported_snapshot(self) -> Iterator[str]:
        """Have the server keep a file in its ``pg_snapshots`` for a ``with`` block, and yield its name.

        Every role may do so, on a standby too (``ExportSnapshot`` in ``src/backend/utils/time/snapmgr.c``).
        """
        with translated("exporting a snapshot"), self._connection.transaction():
            yield facts.one_row(self._connection, "SELECT pg_export_snapshot()")[0]

    def tablespaces(self) -> tuple[Tablespace, ...]:
        """Return the tablespaces that users made, as of now."""
        return facts.read_tablespaces(self._connection)

    def configuration_files(self) -> tuple[str, ...]:
        """Return the absolute paths of the files that the server's settings come from."""
        return facts.read_configuration_files(self._connection)

    def missing_privileges(self) -> tuple[str, ...]:
        """Return the SQL statements that would give this role what it lacks for backups; none, if nothing."""
        return role.missing_privileges(self._connection)

    def is_in_recovery(self) -> bool:
        """Whether the server is a standby, or recovers."""
        with translated("asking whether the server is a standby"):
            return bool(facts.one_row(self._connection, "SELECT pg_is_in_recovery()")[0])

    def current_timeline(self) -> Timeline:
        """Return the timeline that the server writes, or, on a standby, the newest one that it follows."""
        return facts.read_timeline(self._connection)

    def archive_mode(self) -> str:
        """Return whether the server archives its WAL: ``off``, ``on`` or ``always``."""
        return self._setting("archive_mode")

    def archive_command(self) -> str:
        """Return the command by which the server archives its WAL; empty where it has none."""
        return self._setting("archive_command")

    def _setting(self, name: str) -> str:
        with translated(f"asking for {name}"):
            row = self._connection.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,)).fetchone()
            return str(row[0]) if row is not None else ""

    def require_alive(self) -> None:
        """Ask the server for nothing: keeps the connection from idling, and raises as soon as it is lost."""
        with translated("keeping the backup's connection alive"):
            self._connection.execute("SELECT")

    def start_backup(self, label: str, *, fast: bool) -> Lsn:
        """Begin a backup and return where recovery from it begins.

        Waits for a checkpoint: one at full speed with ``fast``, else one spread over minutes to spare the disks.
        """
        query = _START if self.major >= 15 else _START_14
        with translated("starting the backup"):
            return Lsn.parse(facts.one_row(self._connection, query, {"label": label, "fast": fast})[0])

    def stop_backup(self) -> BackupEnd:
        """End the backup, without waiting for the archive: who calls makes sure of the WAL.

        ServerError when no backup is under way here, or a standby was promoted meanwhile.
        """
        with translated("ending the backup"):
            lsn, label, tablespace_map, time = facts.one_row(self._connection, _STOP if self.major >= 15 else _STOP_14)
        return BackupEnd(Lsn.parse(lsn), bytes(label), bytes(tablespace_map), time)

    def hold_wal(self) -> WalHold:
        """Keep the server from recycling WAL: a temporary slot that reserves from the last checkpoint's redo position.

        Call it before ``start_backup``. ServerError when slots are used up or switched off, or the role lacks
        REPLICATION.
        """
        name = f"holdfast_{secrets.token_hex(6)}"
        with translated("holding the WAL"):
            try:
                lsn = facts.one_row(self._connection, _HOLD, {"name": name})[0]
            except psycopg.errors.ConfigurationLimitExceeded as error:
                raise ServerError(
                    "the server has no replication slot left, which is needed to hold the WAL during the backup",
                    hint="drop a slot that is not used (pg_replication_slots) or raise max_replication_slots",
                ) from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise ServerError(
                    "the role may not create the replication slot that holds the WAL during the backup",
                    hint=f'as a superuser: ALTER ROLE "{self._connection.info.user}" REPLICATION',
                ) from error
            except psycopg.errors.ObjectNotInPrerequisiteState as error:
                raise ServerError(
                    "the server is not set up for replication slots, which are needed to hold the WAL",
                    hint="set wal_level = replica and max_replication_slots above 0, then restart the server",
                ) from error
        return WalHold(name, Lsn.parse(lsn))

    def release_wal(self, hold: WalHold) -> None:
        """Let the WAL go, before the connection ends."""
        with translated("letting the WAL go"):
            self._connection.execute(_LOSE, {"name": hold.slot_name})
