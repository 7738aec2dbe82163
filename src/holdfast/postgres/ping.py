"""Whether a server answers at all, asked without a role or a password (PQping; manual, section 34.1)."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import conninfo as pq_conninfo
from psycopg import pq

from holdfast.errors import UsageError

_TIMEOUT_S = 5


def is_answering(conninfo: str) -> bool:
    """Whether a server is there: taking connections, or starting, stopping, recovering."""
    return _ping(conninfo) in {pq.Ping.OK, pq.Ping.REJECT}


def is_taking_connections(conninfo: str) -> bool:
    """Whether a server is there and takes connections."""
    return _ping(conninfo) == pq.Ping.OK


def connection_user(conninfo: str) -> str:
    """Return the role that a connection string names, or "postgres"."""
    return str(_parsed(conninfo).get("user") or "postgres")


def _ping(conninfo: str) -> pq.Ping:
    settings = {**_parsed(conninfo), "connect_timeout": _TIMEOUT_S}  # a ping is repeated; a connection may wait longer
    return pq.Ping(pq.PGconn.ping(pq_conninfo.make_conninfo(**settings).encode()))


def _parsed(conninfo: str) -> dict[str, Any]:
    try:
        return dict(pq_conninfo.conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise UsageError(
            "the connection string cannot be parsed",
            hint="write it as 'host=/run/postgresql port=5432 user=postgres dbname=postgres' or as a URL",
        ) from None
