"""Whether what goes over a connection's wire can be read, so that libpq is not needed to decrypt it.

libpq tells of TLS, and of GSSAPI as a way to authenticate; whether GSSAPI also encrypts (``gssencmode``, tried by
default where there are credentials) psycopg cannot ask it. So a question is asked, and the answer looked at on its way:
a message begins with a letter, an encrypted packet with its length, which fits into two of four bytes, or with a
record type below 32 (``src/backend/libpq/be-secure-gssapi.c``; RFC 8446, section 5.1).
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Final

import psycopg

from holdfast.postgres.replication_refusals import connection_lost

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_QUESTION: Final = b"SHOW block_size"
_DOING: Final = "preparing the connection"


def is_readable(connection: PGconn) -> bool:
    """Whether messages go over the wire of an idle connection as they are. ServerUnreachableError when it is lost.

    Nothing is left behind: what libpq had read beyond its own needs is taken in, and the answer, too.
    """
    if connection.ssl_in_use:
        return False
    with socket.socket(fileno=os.dup(connection.socket)) as wire:
        try:
            connection.send_query(_QUESTION)
            begins = _peeked(wire)
            while connection.get_result() is not None:
                pass
        except psycopg.Error as error:
            raise connection_lost(_DOING, error) from error
    return begins.isalpha()


def _peeked(wire: socket.socket) -> bytes:
    """Wait for the next byte and leave it where it is; libpq tells why there is none."""
    poll = select.poll()
    poll.register(wire, select.POLLIN)
    poll.poll()
    try:
        return wire.recv(1, socket.MSG_PEEK)
    except OSError:
        return b""
