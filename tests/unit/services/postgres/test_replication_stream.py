"""A base backup as it is on the wire, and what others might send instead: one clear refusal, never anything else."""

from __future__ import annotations

import io
import socket
import struct
import tarfile
from contextlib import suppress

import numpy as np
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.postgres.test_base_backup_manifest import written
from tests.unit.postgres.test_base_backup_socket import message
from tests.unit.services.postgres.test_replication_files import Intake

from holdfast.errors import HoldfastError
from holdfast.postgres.base_backup import BaseBackup
from holdfast.postgres.base_backup_manifest import require_same_files
from holdfast.postgres.base_backup_socket import SocketChannel
from holdfast.repository.page_memory import NoMemory
from holdfast.services.postgres.replication_files import ArrivingFiles
from holdfast.services.postgres.rules import DataDirectoryRules

FILES = {
    b"PG_VERSION": b"15\n",
    b"base/1/1259": bytes(8192),
    b"base/5/16384": bytes(300 << 10),
    b"backup_label": b"START WAL LOCATION\n",
    b"global/pg_control": bytes(8192),
}


class PagesIntake(Intake):
    """Stores nothing of large files either."""

    memory = NoMemory()

    def store_pages(self, *given: object) -> tuple[list[bytes], np.ndarray]:
        """Return an id for each chunk."""
        *_, cuts = given
        assert isinstance(cuts, list)
        return [bytes(32) for _ in cuts], np.zeros(0, dtype=np.intp)

    def count_read(self, _: int) -> None:
        """Count nothing."""


def rows(*values: tuple[bytes | None, ...]) -> list[bytes]:
    """Return the messages of one answer."""
    found = [message(b"T", b"\0\0")]
    for row in values:
        fields = (struct.pack(">i", -1) if each is None else struct.pack(">i", len(each)) + each for each in row)
        found.append(message(b"D", struct.pack(">H", len(row)) + b"".join(fields)))
    return [*found, message(b"C", b"SELECT\0")]


def archive(files: dict[bytes, bytes]) -> bytes:
    """Return a tar archive as the server writes it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for directory in ("base", "base/1", "base/5", "global"):
            member = tarfile.TarInfo(directory)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        for path, each in files.items():
            member = tarfile.TarInfo(path.decode())
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return content.getvalue()


def data(content: bytes) -> list[bytes]:
    """Return the messages of data."""
    return [message(b"d", b"d" + content[at : at + 8192]) for at in range(0, len(content), 8192)]


SENT = [
    *rows((b"0/2000028", b"1")),
    *rows((b"16385", b"/mnt/far", b"1"), (None, None, b"40")),
    message(b"H", b"\0\0\0"),
    message(b"d", b"nbase.tar\0\0"),
    *data(archive(FILES)),
    message(b"d", b"m"),
    *data(written({path: (len(content), crc32c(content)) for path, content in FILES.items()})),
    message(b"c"),
    *rows((b"0/2000100", b"1")),
    message(b"C", b"BASE_BACKUP\0"),
    message(b"Z", b"I"),
]


def receive(sent: bytes) -> ArrivingFiles:
    """Take in what a server sends before it closes the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        theirs.setblocking(False)
        assert theirs.send(sent) == len(sent)
        theirs.shutdown(socket.SHUT_WR)
        channel = SocketChannel(ours.fileno())
        try:
            backup = BaseBackup(channel, "BASE_BACKUP")
            files = ArrivingFiles(backup, DataDirectoryRules((), 15))
            for task in files.tasks():
                task.run(PagesIntake(), memoryview(b""))
            backup.finish()
            require_same_files(backup.manifest.files, files.files)
            return files
        finally:
            channel.close()


def test_what_a_server_sends_comes() -> None:
    files = receive(b"".join(SENT))
    assert {path: size for path, (size, _) in files.files.items()} == {path: len(each) for path, each in FILES.items()}
    assert [entry.path for entry in files.entries] == [b"base", b"base/1", b"base/5", b"global"]


@settings(max_examples=300, deadline=None)
@given(
    number=st.integers(0, len(SENT) - 1),
    other=st.integers(0, len(SENT) - 1),
    how=st.sampled_from(["drop", "again", "swap", "flip", "cut", "shorten", "lengthen"]),
    where=st.floats(0, 1, exclude_max=True),
    bits=st.integers(1, 255),
)
def test_what_no_server_sends_is_refused_or_makes_no_difference(
    number: int, other: int, how: str, where: float, bits: int
) -> None:
    sent = list(SENT)
    at = int(where * len(sent[number]))
    if how == "drop":
        del sent[number]
    elif how == "again":
        sent.insert(other, sent[number])
    elif how == "swap":
        sent[number], sent[other] = sent[other], sent[number]
    elif how == "flip":
        sent[number] = sent[number][:at] + bytes([sent[number][at] ^ bits]) + sent[number][at + 1 :]
    elif how == "cut":
        sent[number:] = [sent[number][:at]]
    else:
        content = sent[number][5 : max(5, at)] if how == "shorten" else sent[number][5:] + bytes(bits)
        sent[number] = message(sent[number][:1], content)
    with suppress(HoldfastError):
        assert receive(b"".join(sent)).files.keys() == FILES.keys()
