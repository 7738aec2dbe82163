"""Whether a PostgreSQL server can be backed up by the replication protocol from here; nothing stays on the server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.operations.doctor.finding import Finding, failed, fine
from holdfast.operations.doctor.identity import ClusterIdentity
from holdfast.operations.doctor.server import binaries_for, checksums_are_off
from holdfast.operations.wiring import connection_string
from holdfast.postgres.base_backup import require_base_backup
from holdfast.postgres.replication import ReplicationConnection

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from holdfast.config.models import ServiceConfig

_APPLICATION = "holdfast"


def examine_replication(subject: str, config: ServiceConfig) -> Generator[Finding, None, ClusterIdentity | None]:
    """Yield what was found, and return which cluster it is, None where it does not say so.

    A backup needs two connections at once; the second one is tried beside the first.
    """
    conninfo = connection_string(config)
    try:
        with ReplicationConnection.connect(conninfo, _APPLICATION) as wal:
            yield from _examine_server(subject, wal)
            directory = str(config.data_directory) if config.data_directory else None
            cluster = ClusterIdentity(wal.identify().system_identifier, wal.major, directory)
            has_checksums = wal.setting("data_checksums") == "on"
            with ReplicationConnection.connect(conninfo, _APPLICATION):
                yield fine(subject, "two connections for replication are let in at once, as a backup needs")
            wal.hold_wal(f"holdfast_{secrets.token_hex(6)}")
            yield fine(subject, "WAL can be held during a backup (wal_level, replication slots)")
    except HoldfastError as error:
        yield failed(subject, error)
        return None
    if not has_checksums:
        yield checksums_are_off(subject)
    yield binaries_for(subject, config, cluster.major)
    return cluster


def _examine_server(subject: str, connection: ReplicationConnection) -> Iterator[Finding]:
    require_base_backup(connection.major)
    role = "a standby" if connection.is_standby() else "a primary"
    yield fine(subject, f"PostgreSQL {connection.setting('server_version')} answers over replication, {role}")
