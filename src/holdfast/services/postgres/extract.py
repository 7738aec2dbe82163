"""Reading a part out of a recovered cluster: by pg_dump, or, where none suits, rows alone by COPY."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from holdfast.postgres.connection import translated
from holdfast.postgres.facts import one_row
from holdfast.services.postgres.parts import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.postgres.connection import Connection
    from holdfast.services.postgres.parts import Table

_HEADER = """\
-- Written by holdfast with COPY, as no pg_dump of version {major} or newer was found: rows and the positions of
-- sequences only. The tables must be there, and empty, before this is loaded (psql -f FILE).
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

"""

# Generated columns take no values (manual, COPY, "Notes").
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %(number)s AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum
"""

# Those of the tables' own columns: serial and identity (deptype a and i).
_SEQUENCES = """
SELECT n.nspname, c.relname FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S'
   AND d.deptype IN ('a', 'i') AND d.refobjid = ANY(%(numbers)s::oid[]) ORDER BY 1, 2
"""


def write_rows(connection: Connection, tables: Sequence[Table], output: IO[bytes], major: int) -> None:
    """Write the rows of tables as a script for psql."""
    output.write(_HEADER.format(major=major).encode())
    for table in tables:
        if not table.has_rows_of_its_own:
            continue
        output.write(f"COPY {table.quoted} ({columns(connection, table)}) FROM stdin;\n".encode())
        for block in rows(connection, table):
            output.write(block)
        output.write(b"\\.\n\n")
    for statement in sequence_positions(connection, tables):
        output.write(f"{statement}\n".encode())


def columns(connection: Connection, table: Table) -> str:
    """Return the columns that take values, quoted."""
    with translated(f"reading the columns of {table}"):
        found = connection.execute(_COLUMNS, {"number": table.number}).fetchall()
    return ", ".join(quoted(name) for (name,) in found)


def rows(connection: Connection, table: Table) -> Iterator[bytes | bytearray | memoryview]:
    """Yield the rows of a table in COPY's text format."""
    statement = f"COPY {table.quoted} ({columns(connection, table)}) TO STDOUT".encode()
    with translated(f"reading the rows of {table}"), connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield from copy


def sequence_positions(connection: Connection, tables: Sequence[Table]) -> Iterator[str]:
    """Yield statements that put the sequences of the tables' columns to where they were."""
    with translated("reading sequences"):
        found = connection.execute(_SEQUENCES, {"numbers": [table.number for table in tables]}).fetchall()
        for schema, name in found:
            sequence = f"{quoted(schema)}.{quoted(name)}"
            position, is_called = one_row(connection, f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
            words = sequence.replace("'", "''")
            yield f"SELECT pg_catalog.setval('{words}', {position}, {str(is_called).lower()});"
