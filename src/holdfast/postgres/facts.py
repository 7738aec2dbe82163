"""What a server says of itself, read in a few queries: the facts that a backup is planned from and recorded with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.connection import Connection, Row, translated
from holdfast.postgres.location import require_supported
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace of the user. ``location`` is absolute, or, when in place, relative to the data directory."""

    oid: int
    name: str
    location: str
    is_in_place: bool


@dataclass(frozen=True, slots=True)
class Database:
    """A database; ``size_bytes`` is None when the role may not know it."""

    oid: int
    name: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server at one moment. Sizes are in bytes but for ``relation_segment_blocks``; ``server_time`` is aware.

    ``started``: when the server was started, as it says; empty where it was not asked. ``summarizes_wal``: it makes WAL
    summaries (``summarize_wal``, since 17).
    """

    version: str
    version_number: int
    system_identifier: int
    timeline: Timeline
    data_directory: str
    is_standby: bool
    wal_level: str
    archive_mode: str
    block_size: int
    wal_block_size: int
    wal_segment_size: int
    relation_segment_blocks: int
    has_data_checksums: bool
    max_wal_senders: int
    encoding: str
    server_time: datetime
    recovery_settings: dict[str, str]
    tablespaces: tuple[Tablespace, ...]
    databases: tuple[Database, ...]
    started: str = ""
    summarizes_wal: bool = False

    @property
    def major(self) -> int:
        """The major version, such as 15."""
        return self.version_number // 10000


# pg_control_*: manual, section 9.28 "Control Data Functions"; open to every role. data_directory needs
# pg_read_all_settings (GUC_SUPERUSER_ONLY in src/backend/utils/misc/guc_tables.c).
_FACTS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       s.system_identifier, current_setting('data_directory'), pg_is_in_recovery(),
       current_setting('wal_level'), current_setting('archive_mode'),
       i.database_block_size, i.wal_block_size, i.bytes_per_wal_segment, i.blocks_per_segment,
       i.data_page_checksum_version <> 0,
       current_setting('max_wal_senders')::int, current_setting('server_encoding'), clock_timestamp(),
       pg_postmaster_start_time()::text, current_setting('summarize_wal', true)
  FROM pg_control_system() AS s, pg_control_init() AS i
"""

_TABLESPACES = """
SELECT oid, spcname, pg_tablespace_location(oid) FROM pg_tablespace
 WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid
"""

# Files named by the server and those that they include, as far as a setting comes from them. sourcefile needs
# pg_read_all_settings (manual, section 54.24 "pg_settings").
_CONFIGURATION_FILES = """
SELECT current_setting(name) FROM unnest(ARRAY['config_file', 'hba_file', 'ident_file']) AS name
 UNION SELECT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL
"""

# Recovery fails where these are lower than they were (manual, section 27.4.3 "Administrator's Overview"), or with a
# library missing whose WAL records it meets.
_RECOVERY_SETTINGS = """
SELECT name, current_setting(name) FROM unnest(ARRAY['max_connections', 'max_worker_processes', 'max_wal_senders',
       'max_prepared_transactions', 'max_locks_per_transaction', 'shared_preload_libraries']) AS name ORDER BY name
"""

_DATABASES = """
SELECT oid, datname, CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                          THEN pg_database_size(oid) END
  FROM pg_database ORDER BY oid
"""

# On a primary the newest timeline is that of the WAL being written: the control file still has the old one until
# the first checkpoint after a promotion. A standby cannot name segments; there it is the newest of what was
# checkpointed, replayed and received.
_PRIMARY_TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
_STANDBY_TIMELINE = """
SELECT greatest(c.timeline_id, r.min_recovery_end_timeline, (SELECT max(received_tli) FROM pg_stat_wal_receiver))
  FROM pg_control_checkpoint() AS c, pg_control_recovery() AS r
"""

_IN_PLACE_PREFIX = "pg_tblspc/"
_UNSIGNED_64 = 2**64 - 1


def read_facts(connection: Connection) -> ServerFacts:
    """Ask the server; ServerError when its version is not supported or the role may not see what is needed."""
    require_supported(connection.info.server_version // 10000)
    with translated("asking the server what it is"):
        row = one_row(connection, _FACTS)
        databases = connection.execute(_DATABASES).fetchall()
        recovery_settings: dict[str, str] = dict(connection.execute(_RECOVERY_SETTINGS).fetchall())
    return ServerFacts(
        version=row[0],
        version_number=row[1],
        system_identifier=row[2] & _UNSIGNED_64,  # the server shows it as a signed number
        timeline=read_timeline(connection),
        data_directory=row[3],
        is_standby=row[4],
        wal_level=row[5],
        archive_mode=row[6],
        block_size=row[7],
        wal_block_size=row[8],
        wal_segment_size=row[9],
        relation_segment_blocks=row[10],
        has_data_checksums=row[11],
        max_wal_senders=row[12],
        encoding=row[13],
        server_time=row[14],
        started=row[15],
        summarizes_wal=row[16] == "on",
        recovery_settings=recovery_settings,
        tablespaces=read_tablespaces(connection),
        databases=tuple(Database(*entry) for entry in databases),
    )


def read_timeline(connection: Connection) -> Timeline:
    """Return the timeline that the server writes, or, on a standby, the newest one that it follows."""
    with translated("asking for the timeline"):
        if one_row(connection, "SELECT pg_is_in_recovery()")[0]:
            return Timeline(one_row(connection, _STANDBY_TIMELINE)[0])
        return Timeline.parse_hex(one_row(connection, _PRIMARY_TIMELINE)[0])


def read_configuration_files(connection: Connection) -> tuple[str, ...]:
    """Return the absolute paths of the files that the server's settings come from, access rules included."""
    with translated("asking for the configuration files"):
        return tuple(sorted(path for (path,) in connection.execute(_CONFIGURATION_FILES) if path))


def read_tablespaces(connection: Connection) -> tuple[Tablespace, ...]:
    """Return the tablespaces that users made."""
    with translated("asking for the tablespaces"):
        return tuple(_tablespace(*entry) for entry in connection.execute(_TABLESPACES).fetchall())


def read_databases(connection: Connection) -> dict[str, int]:
    """Return the number (OID) of each database, by name."""
    with translated("asking for the databases"):
        return dict(connection.execute("SELECT datname, oid::int8 FROM pg_database").fetchall())


def one_row(connection: Connection, query: str, parameters: dict[str, object] | None = None) -> Row:
    """Return the one row of a query. Errors of psycopg pass: for use within ``translated``."""
    row = connection.execute(query.encode(), parameters).fetchone()
    if row is None:
        raise ServerError("the server gave no answer where it must", hint="look at its log")
    return row


def _tablespace(oid: int, name: str, location: str) -> Tablespace:
    return Tablespace(oid, name, location, is_in_place=location.startswith(_IN_PLACE_PREFIX))
