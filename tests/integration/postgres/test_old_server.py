"""A server of a version that is not supported, of which none is to be had here: the little that matters, by hand."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import ServerError
from holdfast.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


def message(kind: bytes, content: bytes) -> bytes:
    """Frame a message of the protocol (manual, section 55.7 "Message Formats")."""
    return kind + struct.pack("!I", 4 + len(content)) + content


READY = message(b"Z", b"I")


def serve(listener: socket.socket, version: str) -> None:
    """Let one client in, and answer every query as a SET that was done."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as incoming:
        incoming.read(struct.unpack("!I", incoming.read(4))[0] - 4)
        status = message(b"S", b"server_version\0" + version.encode() + b"\0")
        connection.sendall(message(b"R", bytes(4)) + status + message(b"S", b"client_encoding\0UTF8\0") + READY)
        while (kind := incoming.read(1)) == b"Q":
            incoming.read(struct.unpack("!I", incoming.read(4))[0] - 4)
            connection.sendall(message(b"C", b"SET\0") + READY)
        assert kind in {b"X", b""}


@contextmanager
def old_server(version: str) -> Iterator[str]:
    """Run such a server; yield how it is reached."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        speaker = threading.Thread(target=serve, args=(listener, version))
        speaker.start()
        yield f"host=127.0.0.1 port={listener.getsockname()[1]} user=postgres sslmode=disable gssencmode=disable"
        speaker.join()


@pytest.mark.parametrize("version", ["13.23", "9.6.24", "19.1"])
def test_a_version_that_is_not_supported_is_refused_with_those_that_are(version: str):
    with old_server(version) as conninfo, Server.connect(conninfo) as server, pytest.raises(ServerError) as caught:
        server.probe()
    assert caught.value.message == f"PostgreSQL {version.partition('.')[0]} is not supported"
    assert "14 to 18" in str(caught.value.hint)
