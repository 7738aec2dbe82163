"""A connection is taken over from libpq at rest: what libpq had read too much is neither lost nor read twice."""

import select
import socket
import struct
import threading

import pytest
from psycopg import pq

from holdfast.postgres.base_backup import open_channel
from holdfast.postgres.base_backup_channel import AnswerKind
from holdfast.postgres.base_backup_socket import SocketChannel


def message(kind, content):
    return kind + struct.pack(">I", len(content) + 4) + content


READY = message(b"Z", b"I")
GREETING = message(b"R", bytes(4)) + message(b"S", b"server_version\x0015.0\0") + READY
NOTICE = message(b"N", b"SNOTICE\0C00000\0Mby the way\0\0")
UNASKED = NOTICE + message(b"S", b"TimeZone\0UTC\0")
COLUMN = message(b"T", struct.pack(">H", 1) + b"c\0" + struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0))


def rows(value):
    row = struct.pack(">Hi", 1, len(value)) + value
    return COLUMN + message(b"D", row) + message(b"C", b"SELECT 1\0") + READY


def connected(conninfo):
    """Connect step by step: ``connect`` would keep the thread that serves from running."""
    connection = pq.PGconn.connect_start(conninfo.encode())
    while (polled := connection.connect_poll()) != pq.PollingStatus.OK:
        assert polled != pq.PollingStatus.FAILED, connection.get_error_message()
        event = select.POLLIN if polled == pq.PollingStatus.READING else select.POLLOUT
        poll = select.poll()
        poll.register(connection.socket, event)
        poll.poll()
    return connection


@pytest.mark.parametrize("cut", [0, 9, len(NOTICE), len(NOTICE) + 1, len(UNASKED)])
def test_what_libpq_had_read_too_much_is_neither_lost_nor_doubled(cut, tmp_path):
    asked = []

    def serve():
        server, _ = listener.accept()
        with server:
            server.recv(10_000)
            server.sendall(GREETING + UNASKED[:cut])
            for answer in (UNASKED[cut:] + rows(b"8192"), rows(b"0/28")):
                asked.append(server.recv(10_000))
                server.sendall(answer)
            server.recv(10_000)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5432"))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection = connected(f"host={tmp_path} port=5432 user=u dbname=d")
        channel = open_channel(connection)
        assert isinstance(channel, SocketChannel) or UNASKED[cut:]
        channel.send("BASE_BACKUP")
        answer = channel.answer()
        assert (answer.kind, answer.rows) == (AnswerKind.ROWS, ((b"0/28",),))
        channel.close()
        connection.finish()
        thread.join(30)
    assert [each[:1] for each in asked] == [b"Q", b"Q"]
    assert b"BASE_BACKUP" in asked[1]
