"""One connection to a server, and the translation of psycopg's errors: nothing above this room knows psycopg.

A backup holds its connection for as long as it copies, so idle timeouts are off and dead peers are noticed by TCP
keepalives. Everything runs in autocommit mode, with a search path that nobody else can write to.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo as pq_conninfo

from holdfast.errors import ServerError, ServerUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]
Given = dict[str, str | int | None]
"""What a connection string says, by keyword; may hold a password."""

_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "application_name": "holdfast",
    "client_encoding": "UTF8",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

_SETTINGS = (
    "SET search_path = pg_catalog",
    "SET timezone = 'UTC'",
    # as pg_dump: what is read here, or copied from one server into another, must not depend on how they show it
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET standard_conforming_strings = on",
    "SET default_transaction_isolation = 'read committed'",  # a standby refuses serializable transactions
    "SET statement_timeout = 0",
    "SET lock_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET idle_session_timeout = 0",
)
_SETTINGS_SINCE_17 = ("SET transaction_timeout = 0",)

_HINT_BY_STATE = {
    "28P01": "check the password that the connection names",
    "28000": "check pg_hba.conf and the role that the connection names",
    "3D000": "name a database that exists (dbname=postgres)",
    "42501": "'holdfast doctor' tells which privileges the role lacks and how to grant them",
    "53300": "wait for connections to end, or raise max_connections",
    "57P01": "the server was told to stop; start it and run the backup again",
    "57P03": "the server is starting, stopping or recovering; try again",
}


# It "is starting up", "is shutting down", "is in recovery mode", "is not yet accepting connections", "is not accepting
# connections": ProcessStartupPacket in src/backend/postmaster/postmaster.c
_NOT_READY = "the database system is "


def connect(conninfo: str) -> Connection:
    """Connect. What ``conninfo`` says wins over our defaults (timeout 10 s, keepalives, application name).

    UsageError when it cannot be parsed, ServerUnreachableError when nobody answers, ServerError when the server
    refuses. The password is in no message.
    """
    given = parse_conninfo(conninfo)
    try:
        connection = psycopg.connect(complete_conninfo(given), autocommit=True)
    except psycopg.OperationalError as error:
        raise refusal(str(error), given) from None
    with translated("preparing the connection"):
        settings = _SETTINGS + (_SETTINGS_SINCE_17 if connection.info.server_version >= 170000 else ())
        connection.execute("; ".join(settings))  # in one go: the server may be far
    return connection


def parse_conninfo(conninfo: str) -> Given:
    """Return what a connection string says; UsageError, which quotes nothing of it, when it cannot be parsed."""
    try:
        return pq_conninfo.conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # libpq quotes what it could not parse, which may be the password: its message and the cause are withheld
        raise UsageError(
            "the connection string cannot be parsed",
            hint="write it as 'host=/run/postgresql port=5432 user=postgres dbname=postgres' or as a URL",
        ) from None


def complete_conninfo(given: Given, **overrides: str) -> str:
    """Return the connection string with our defaults beneath what was given, and ``overrides`` above it."""
    merged: dict[str, Any] = {**_DEFAULTS, **given, **overrides}
    return pq_conninfo.make_conninfo(**merged)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate psycopg's errors of the block; ``doing`` says what was being done ("starting the backup")."""
    try:
        yield
    except psycopg.Error as error:
        message = f"{doing}: {_first_line(error)}"
        hint = error.diag.message_hint or _HINT_BY_STATE.get(error.sqlstate or "")
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            raise ServerUnreachableError(
                message, hint=hint or "the connection was lost; look at the server's log, then try again"
            ) from error
        raise ServerError(message, hint=hint) from error


def refusal(words: str, given: Given) -> ServerError:
    """Return the error for a connection that did not come about, from libpq's words.

    libpq hands on the server's own words after "FATAL:"; without them, no server spoke.
    """
    message = _masked(" ".join(_without_questions(words).split()), given)
    if "FATAL:" not in message:
        return ServerUnreachableError(
            f"cannot connect to PostgreSQL: {message}",
            hint="check host and port, and that the server runs and may be reached from here",
        )
    refused = message.rpartition("FATAL:")[2].strip()
    if _NOT_READY in refused:
        return ServerUnreachableError(f"PostgreSQL is not ready: {refused}", hint=_HINT_BY_STATE["57P03"])
    return ServerError(f"PostgreSQL refused the connection: {refused}", hint=_refusal_hint(refused))


def _without_questions(words: str) -> str:
    """Return libpq's words without what psycopg puts before them and the question ("Is the server running…?") after."""
    lines = words.removeprefix("connection is bad: ").splitlines()
    return "\n".join(line for line in lines if not line.startswith("\t"))


def _refusal_hint(refused: str) -> str:
    if refused.startswith("Peer authentication"):  # auth_failed in src/backend/libpq/auth.c
        return (
            "run holdfast as the system account of that name (sudo -u postgres …), "
            "or map this one to the role in pg_ident.conf"
        )
    return "check user, password and dbname of the connection, and pg_hba.conf on the server"


def _masked(message: str, given: Given) -> str:
    for secret in ("password", "sslpassword"):
        if given.get(secret):
            message = message.replace(str(given[secret]), "***")
    return message


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
