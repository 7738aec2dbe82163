"""Loading a part into a running database, in one transaction: all of it is there afterwards, or nothing.

Nothing is overwritten. With pg_dump a table is made, and must not be there; without, its rows go into a table that the
operator has made, and that must be empty.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import ServerError, ServerUnreachableError, UsageError
from holdfast.postgres.connection import translated
from holdfast.services.postgres.extract import columns, rows, sequence_positions
from holdfast.services.postgres.parts import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.postgres.connection import Connection
    from holdfast.services.postgres.dump_program import DumpProgram
    from holdfast.services.postgres.parts import Table

_RELATION = "SELECT to_regclass(%(name)s) IS NOT NULL"
_SCHEMA = "SELECT to_regnamespace(%(name)s) IS NOT NULL"


def require_loadable(into: Connection) -> None:
    """Raise UsageError when the database takes no writes."""
    with translated("asking the database to load into"):
        row = into.execute("SELECT pg_is_in_recovery()").fetchone()
    if row and row[0]:
        raise UsageError("the database to load into is a standby", hint="give the URL of its primary")


def load_with_schema(source: Connection, into: Connection, dump: DumpProgram, tables: Sequence[Table]) -> None:
    """Make the tables and all that belongs to them, and fill them."""
    require_absent(into, tables)
    before, after = dump.section("pre-data"), dump.section("post-data")
    with _told_what_is_needed(), translated("loading"), into.transaction():
        into.execute(before)
        _copy_rows(source, into, tables)
        into.execute(after)


def load_rows(source: Connection, into: Connection, tables: Sequence[Table]) -> None:
    """Fill tables that are there, and empty."""
    for table in tables:
        _require_empty(into, table)
    with _told_what_is_needed(), translated("loading"), into.transaction():
        _copy_rows(source, into, tables)


def require_absent(into: Connection, tables: Sequence[Table]) -> None:
    """Raise UsageError when one of the tables is there already."""
    for table in tables:
        if _is_there(into, _RELATION, table.quoted):
            raise UsageError(
                f"the database to load into has {table} already, which is not overwritten",
                hint="load into a new database (CREATE DATABASE), write to a file (--output), or rename that table",
            )


def require_schemas(into: Connection, tables: Sequence[Table]) -> None:
    """Raise UsageError when a schema of the tables is missing: a dump of tables does not make it."""
    for schema in sorted({table.schema for table in tables}):
        if not _is_there(into, _SCHEMA, quoted(schema)):
            raise UsageError(
                f"the database to load into has no schema {schema}", hint=f"CREATE SCHEMA {quoted(schema)} there first"
            )


@contextmanager
def _told_what_is_needed() -> Iterator[None]:
    """Say what to do where the database refuses what is loaded: what a table refers to may not be there."""
    try:
        yield
    except ServerUnreachableError:
        raise
    except ServerError as error:
        raise ServerError(
            error.message,
            hint="nothing was loaded; make there what is missing, or load as a role that may; "
            "--output FILE writes what would be loaded",
        ) from error


def _require_empty(into: Connection, table: Table) -> None:
    if not _is_there(into, _RELATION, table.quoted):
        raise UsageError(
            f"{table} is not in the database to load into, and cannot be made without pg_dump",
            hint="install the client programs of the server's version, or make the table there first",
        )
    with translated(f"looking into {table}"):
        row = into.execute(f"SELECT EXISTS (SELECT FROM {table.quoted})".encode()).fetchone()  # noqa: S608
    if row and row[0]:
        raise UsageError(
            f"{table} of the database to load into has rows already, which are not overwritten",
            hint="load into a new database, or write to a file with --output",
        )


def _is_there(into: Connection, query: str, name: str) -> bool:
    with translated("asking the database to load into"):
        row = into.execute(query.encode(), {"name": name}).fetchone()
    return bool(row and row[0])


def _copy_rows(source: Connection, into: Connection, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.has_rows_of_its_own:
            fill = f"COPY {table.quoted} ({columns(source, table)}) FROM STDIN".encode()
            with into.cursor() as cursor, cursor.copy(fill) as copy:
                for block in rows(source, table):
                    copy.write(block)
    for statement in sequence_positions(source, tables):
        into.execute(statement.encode())
