"""What a server says of itself over a replication connection, and what it may say over an ordinary one.

The REPLICATION privilege alone tells all that a restore needs. The names of databases and tablespaces are in the
catalog: where the role may also connect to a database, they are asked for there; else numbers stand for names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import Database, ServerFacts, Tablespace, one_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.postgres.base_backup_archives import BackupTablespace
    from holdfast.postgres.replication import ReplicationConnection, SystemIdentity
    from holdfast.progress import Reporter

# Those that recovery needs as they were and that every role may see (see _RECOVERY_SETTINGS in postgres/facts.py).
_RECOVERY_SETTINGS = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)
_LIBRARIES = "shared_preload_libraries"
_IN_PLACE_PREFIX = b"pg_tblspc/"

# pg_settings leaves out what the role may not see.
_ASK = """
SELECT current_setting('server_encoding'),
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries')
"""
_ASK_DATABASES = "SELECT oid::int8, datname FROM pg_database ORDER BY oid"
_ASK_TABLESPACES = "SELECT oid::int8, spcname FROM pg_tablespace"


@dataclass(frozen=True)
class CatalogFacts:
    """What only the catalog tells; empty where it may not be asked."""

    encoding: str = ""
    data_directory: str = ""
    libraries: str | None = None
    databases: tuple[Database, ...] = ()
    tablespace_names: Mapping[int, str] = field(default_factory=dict)


def ask_catalog(conninfo: str, reporter: Reporter) -> CatalogFacts:
    """Return what an ordinary connection tells; a server that refuses one is no hindrance, and noted."""
    try:
        with connect(conninfo) as connection, translated("asking for the names of databases and tablespaces"):
            encoding, data_directory, libraries = one_row(connection, _ASK)
            databases = connection.execute(_ASK_DATABASES).fetchall()
            tablespaces = connection.execute(_ASK_TABLESPACES).fetchall()
    except HoldfastError as error:
        reporter.notice(
            f"the snapshot names no databases, and tablespaces by number, as the catalog cannot be asked: "
            f"{error.message}"
        )
        return CatalogFacts()
    return CatalogFacts(
        encoding=encoding,
        data_directory=data_directory or "",
        libraries=libraries,
        databases=tuple(Database(oid, name, None) for oid, name in databases),
        tablespace_names=dict(tablespaces),
    )


def replication_facts(connection: ReplicationConnection, system: SystemIdentity, catalog: CatalogFacts) -> ServerFacts:
    """Return the facts of a server, without tablespaces. ServerError, ServerUnreachableError."""
    setting, size = connection.setting, connection.size_setting
    recovery_settings = {name: setting(name) for name in _RECOVERY_SETTINGS}
    if catalog.libraries is not None:
        recovery_settings[_LIBRARIES] = catalog.libraries
    block_size = size("block_size")
    return ServerFacts(
        version=setting("server_version"),
        version_number=int(setting("server_version_num")),
        system_identifier=int(system.system_identifier),
        timeline=system.timeline,
        data_directory=catalog.data_directory,
        is_standby=connection.is_standby(),
        wal_level=setting("wal_level"),
        archive_mode=setting("archive_mode"),
        block_size=block_size,
        wal_block_size=size("wal_block_size"),
        wal_segment_size=connection.segment_size(),
        relation_segment_blocks=size("segment_size") // block_size,
        has_data_checksums=setting("data_checksums") == "on",
        max_wal_senders=int(recovery_settings["max_wal_senders"]),
        encoding=catalog.encoding,
        server_time=clock.now(),
        recovery_settings=recovery_settings,
        tablespaces=(),
        databases=catalog.databases,
    )


def named_tablespaces(announced: Iterable[BackupTablespace], catalog: CatalogFacts) -> tuple[Tablespace, ...]:
    """Return the tablespaces of a base backup with their names, or with their numbers as names."""
    names = catalog.tablespace_names
    return tuple(
        Tablespace(
            oid=each.oid,
            name=names.get(each.oid, str(each.oid)),
            location=os.fsdecode(each.location),
            is_in_place=each.location.startswith(_IN_PLACE_PREFIX),
        )
        for each in sorted(announced, key=lambda each: each.oid or 0)
        if each.oid is not None
    )
