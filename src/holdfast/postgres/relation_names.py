"""Which relation a file belongs to: the server knows, for the relations of the database that one is connected to.

``pg_filenode_relation`` (manual, "Database Object Location Functions") knows shared and mapped catalogs, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_TABLESPACE, SHARED_TABLESPACE = 1663, 1664
"""The numbers of ``pg_default`` and ``pg_global`` (src/include/catalog/pg_tablespace.dat)."""

_NAMES = """
SELECT coalesce(pg_filenode_relation(files.space, files.node)::regclass::text, '')
  FROM unnest(%s::oid[], %s::oid[]) WITH ORDINALITY AS files(space, node, number)
 ORDER BY number
"""


class FileNumber(NamedTuple):
    """How the server names a relation's files: the tablespace's OID, and the number."""

    tablespace: int
    file_node: int


def relation_names(conninfo: str, database: str, files: Sequence[FileNumber]) -> list[str]:
    """Return the name of each file's relation, with its schema; empty where the database has none. Raises ServerError.

    A connection of its own is opened for it, to ``database`` or, when that is empty, to the one of ``conninfo``. It
    gives up after two seconds.
    """
    from holdfast.postgres.connection import complete_conninfo, connect, parse_conninfo, translated  # psycopg is dear

    where = {"dbname": database} if database else {}
    patient = complete_conninfo(parse_conninfo(conninfo), connect_timeout="2", **where)
    with connect(patient) as connection, translated("asking for names of relations"):
        connection.execute("SET statement_timeout = '2s'")
        spaces, nodes = [file.tablespace for file in files], [file.file_node for file in files]
        return [name for (name,) in connection.execute(_NAMES, (spaces, nodes))]
