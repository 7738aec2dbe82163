"""The least that a role must be allowed to do for backups, as the SQL that gives it what it lacks.

- REPLICATION: the temporary replication slot that holds the WAL (manual, section 9.27.6);
- EXECUTE on the two functions that frame a backup: only superusers have it from the start (section 9.27.3);
- ``pg_read_all_settings``: where the data directory is;
- ``pg_read_all_stats``: sizes of databases that it cannot connect to, and the timeline that a standby receives.

The pg_control functions and the slot functions are open to every role. Function grants belong to the database in
which they are made: the one that the connection names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.postgres.connection import translated

if TYPE_CHECKING:
    from holdfast.postgres.connection import Connection

_START_STOP = ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
_START_STOP_14 = ("pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)")
_PREDEFINED_ROLES = ("pg_read_all_settings", "pg_read_all_stats")


def missing_privileges(connection: Connection) -> tuple[str, ...]:
    """Return the SQL statements that would give the connected role what it lacks for backups; none, if nothing."""
    role = _quoted(connection.info.user)
    with translated("asking for the privileges of the role"):
        row = connection.execute(
            "SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        if row is None or row[0]:
            return ()
        statements = [] if row[1] else [f"ALTER ROLE {role} REPLICATION;"]
        statements += [
            f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};"
            for function in _functions(connection.info.server_version // 10000)
            if not _holds(connection, "SELECT has_function_privilege(%s, 'EXECUTE')", f"pg_catalog.{function}")
        ]
        statements += [
            f"GRANT {granted} TO {role};"
            for granted in _PREDEFINED_ROLES
            if not _holds(connection, "SELECT pg_has_role(%s, 'USAGE')", granted)
        ]
    return tuple(statements)


def _functions(major: int) -> tuple[str, str]:
    return _START_STOP if major >= 15 else _START_STOP_14


def _holds(connection: Connection, query: str, subject: str) -> bool:
    row = connection.execute(query.encode(), (subject,)).fetchone()
    return row is not None and bool(row[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
