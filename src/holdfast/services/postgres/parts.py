"""Which database and which tables are meant: names as people type them, looked up where they must exist."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.postgres.connection import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.postgres.connection import Connection

_WORD = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAME = re.compile(rf"(?:{_WORD}\.)?{_WORD}")
_NOT_FOR_USERS = {"template0", "template1"}
_ORDINARY = "postgres"
_SHOWN = 5

# Every table that holds rows or is divided into such, but for those of the system; partitions and children of each.
_TABLES = """
SELECT n.nspname, c.relname, c.oid::int8, c.relkind::text, c.relispopulated AND c.relkind = 'r'
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')
 ORDER BY 1, 2
"""
_CHILDREN = """
WITH RECURSIVE child AS (SELECT unnest(%(numbers)s::int8[]) AS number
                          UNION SELECT inhrelid::int8 FROM pg_inherits JOIN child ON inhparent::int8 = number)
SELECT number FROM child
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the recovered database. ``has_rows_of_its_own``: it is not only the sum of its partitions."""

    schema: str
    name: str
    number: int
    has_rows_of_its_own: bool

    @property
    def quoted(self) -> str:
        """The name as SQL takes it, and ``pg_dump --table``: in quotes, whatever it holds."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def __str__(self) -> str:
        """Return the name as people write it."""
        return f"{self.schema}.{self.name}"


def named_tables(asked: Sequence[str]) -> list[Table]:
    """Return the tables that were asked for with their schema, as typed, before anybody can look them up."""
    names = [parse_name(words) for words in asked]
    return [Table(schema, name, 0, has_rows_of_its_own=False) for schema, name in names if schema is not None]


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def choose_database(databases: Sequence[str], asked: str | None) -> str:
    """Return the database that is meant: the one asked for, or the only one that users made.

    UsageError, with near names, for one that the snapshot has not, and where several could be meant.
    """
    if asked is not None:
        if asked not in databases:
            raise UsageError(f"the snapshot has no database {asked!r}", hint=_near(asked, databases))
        return asked
    users = [name for name in databases if name not in {*_NOT_FOR_USERS, _ORDINARY}]
    if len(users) > 1:
        raise UsageError("--table needs its database, as there are several", hint=f"add --database: {', '.join(users)}")
    return users[0] if users else _ORDINARY


def list_tables(connection: Connection) -> list[Table]:
    """Return every table of the database but the system's and those of extensions."""
    with translated("listing the tables"):
        rows = connection.execute(_TABLES).fetchall()
    return [Table(schema, name, number, has_rows) for schema, name, number, _, has_rows in rows]


def choose_tables(connection: Connection, asked: Sequence[str]) -> list[Table]:
    """Return the tables that are meant, and their partitions and children; UsageError with near names for none."""
    known = list_tables(connection)
    meant = [_find(words, known) for words in asked]
    with translated("listing partitions"):
        rows = connection.execute(_CHILDREN, {"numbers": [table.number for table in meant]}).fetchall()
    numbers = {number for (number,) in rows}
    return [table for table in known if table.number in numbers]


def parse_name(words: str) -> tuple[str | None, str]:
    """Return (schema, name); each may be quoted as in SQL. UsageError for what is no name of a table."""
    match = _NAME.fullmatch(words)
    if match is None:
        raise UsageError(f"not the name of a table: {words!r}", hint="write --table schema.name")
    in_quotes, plain, name_in_quotes, plain_name = match.groups()
    schema = in_quotes.replace('""', '"') if in_quotes else plain
    return schema, name_in_quotes.replace('""', '"') if name_in_quotes else plain_name


def _find(words: str, known: Sequence[Table]) -> Table:
    schema, name = parse_name(words)
    found = _matching(schema, name, known) or _matching(schema and schema.lower(), name.lower(), known)
    if not found:
        raise UsageError(f"the database has no table {words}", hint=_near(words, [str(table) for table in known]))
    if len(found) > 1:
        raise UsageError(f"{words} may be any of {_listed(map(str, found))}", hint="write the schema, too: schema.name")
    return found[0]


def _matching(schema: str | None, name: str, known: Sequence[Table]) -> list[Table]:
    return [table for table in known if table.name == name and schema in {None, table.schema}]


def _near(asked: str, known: Sequence[str]) -> str:
    last = {name: name.rpartition(".")[2] for name in known}
    near = difflib.get_close_matches(asked, known, _SHOWN) or [
        name for name in known if last[name] in difflib.get_close_matches(asked, last.values(), _SHOWN)
    ]
    if near:
        return f"did you mean {_listed(near)}?"
    return f"it has {_listed(known)}" if known else "it has none"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
