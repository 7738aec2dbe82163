"""Whether a cluster is well: it is the one it should be, its tables and indexes hold, the operator's checks agree."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, ServerError
from holdfast.postgres.answer_limit import answering_within
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import one_row, read_timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.connection import Connection
    from holdfast.progress import Reporter

_UNSIGNED_64 = 2**64 - 1
_BOOTSTRAP_ROLE = "SELECT rolname FROM pg_roles WHERE oid = 10"
"""``BOOTSTRAP_SUPERUSERID`` in ``src/include/catalog/pg_authid.dat``: it can be renamed, but not dropped."""
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
_HAS_AMCHECK = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"
_CAN_AMCHECK = "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'"
_FOUND_CORRUPTION = 2
_SHOWN_LINES = 10
_ANSWERED_WITHIN_S = 30.0
_GRACE_S = 5.0
"""How much longer than its own limit a server may take to say that it was kept."""


@dataclass(frozen=True)
class PrivateServer:
    """A server that only we reach: ``conninfo`` lacks user and database; ``user`` is a role that the cluster has."""

    conninfo: str
    user: str

    def reach(self, database: str) -> str:
        """Return how a database is reached."""
        return with_parts(self.conninfo, user=self.user, dbname=database)


def powerful(server: PrivateServer) -> PrivateServer:
    """Return the same server as its bootstrap superuser reaches it."""
    with connect(server.reach("postgres")) as connection, translated("asking for the superuser"):
        return PrivateServer(server.conninfo, one_row(connection, _BOOTSTRAP_ROLE)[0])


def with_parts(conninfo: str, **parts: str) -> str:
    """Return a connection string with some of its parts replaced."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo(conninfo, **parts)


def require_identity(conninfo: str, identity: str) -> None:
    """Raise HoldfastError unless a primary of this system identifier and timeline answers, and soon.

    An empty identity (that of a damaged directory) asks for an answer only.
    """
    with connect(conninfo) as connection, answering_within(connection, _ANSWERED_WITHIN_S):
        with translated("asking which cluster answers"):
            number = int(one_row(connection, "SELECT system_identifier FROM pg_control_system()")[0]) & _UNSIGNED_64
        found = f"{number}/{read_timeline(connection)}"
    if identity and found != identity:
        raise HoldfastError(
            f"the cluster that answers is {found}, not {identity} (system identifier and timeline)",
            hint="check that the connection and the commands of this service are about the same server",
        )


@dataclass(frozen=True)
class Checks:
    """The operator's statements, by database, and how many seconds each may take."""

    statements: Mapping[str, Sequence[str]]
    timeout_s: float


def run_checks(conninfo: str, checks: Checks) -> None:
    """Run the operator's statements. HoldfastError for the first one that fails, says no, or takes too long.

    Names in them are found as the role finds them in psql.
    """
    for database, statements in checks.statements.items():
        with connect(with_parts(conninfo, dbname=database)) as connection:
            for statement in statements:
                with _limited(connection, statement, checks.timeout_s):
                    _require_yes(_first_value(connection, statement), statement, database)


@contextmanager
def _limited(connection: Connection, statement: str, timeout_s: float) -> Iterator[None]:
    """Limit the time of one check on both sides: by the server, which can say why; by us, where the server stalls."""
    began = clock.monotonic()
    try:
        with answering_within(connection, timeout_s + _GRACE_S):
            with translated("preparing the checks"):
                connection.execute("RESET search_path")
                connection.execute(f"SET statement_timeout = {round(timeout_s * 1000)}".encode())
            yield
    except ServerError as error:
        if clock.monotonic() - began < timeout_s:
            raise
        raise ServerError(
            f"the check {statement!r} took longer than {timeout_s:g} s",
            hint="raise restore.check_timeout if it only needs longer; --target lets you look at what was restored",
            details=(error.message,),
        ) from error


def _first_value(connection: Connection, statement: str) -> object:
    """Return the first value of a statement's first row, None where there is none."""
    with translated(f"the check {statement!r} failed"):
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def _require_yes(value: object, statement: str, database: str) -> None:
    if value is None or value is False:
        raise HoldfastError(
            f"the check {statement!r} in {database} says {'false' if value is False else 'nothing'}",
            hint="a check returns a row whose first value is neither false nor null; --target lets you look",
        )


def check_relations(server: PrivateServer, binaries: Binaries, reporter: Reporter) -> None:
    """Let ``pg_amcheck`` look through all tables and B-tree indexes of a server that is ours alone.

    Where databases lack the extension it is there for this time only. HoldfastError when something is corrupt; a
    notice when program or extension are not installed.
    """
    if not binaries.has_program("pg_amcheck"):
        reporter.notice(f"{binaries.directory} has no pg_amcheck: tables and indexes were not looked through")
        return
    with connect(server.reach("postgres")) as connection, translated("asking for the databases"):
        databases = [name for (name,) in connection.execute(_DATABASES).fetchall()]
        is_available = one_row(connection, _CAN_AMCHECK)[0] > 0
    if not is_available:
        reporter.notice("the extension amcheck is not installed: tables and indexes were not looked through")
        return
    server = powerful(server)
    lacking = [name for name in databases if not _has_amcheck(server, name)]
    try:
        _run_amcheck(server, binaries)
    finally:
        for name in lacking:
            _remove_amcheck(server, name)


def _run_amcheck(server: PrivateServer, binaries: Binaries) -> None:
    command = [
        str(binaries.program("pg_amcheck")),
        "--all",
        "--install-missing",
        "--no-password",
        f"--jobs={os.cpu_count() or 1}",
        f"--maintenance-db={server.reach('postgres')}",
    ]
    answer = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd="/", env={"LC_ALL": "C"}
    )
    if answer.returncode == 0:
        return
    lines = (answer.stdout + answer.stderr).splitlines()
    is_corrupt = answer.returncode == _FOUND_CORRUPTION
    raise HoldfastError(
        "the restored cluster is corrupt: pg_amcheck says so" if is_corrupt else "pg_amcheck failed",
        hint="restore an earlier snapshot or target; or, to look yourself, restore to a directory (--target)",
        details=tuple(lines[:_SHOWN_LINES]),
    )


def _has_amcheck(server: PrivateServer, database: str) -> bool:
    with connect(server.reach(database)) as connection, translated(f"asking {database} for amcheck"):
        return bool(one_row(connection, _HAS_AMCHECK)[0])


def _remove_amcheck(server: PrivateServer, database: str) -> None:
    with connect(server.reach(database)) as connection, translated(f"removing amcheck from {database}"):
        connection.execute("DROP EXTENSION IF EXISTS amcheck")
