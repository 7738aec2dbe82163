"""BASE_BACKUP: a running server's files through a replication connection, as one stream that is read as it comes.

From 15 on all archives come in one COPY, as messages that begin with a letter: a new archive, the manifest, data,
progress (manual, section 55.4, and ``src/backend/backup/basebackup_copy.c``). 14 sends each archive in a COPY of its
own, and is not supported here. Reading never blocks in libpq, which would keep all other threads from running.
"""

from __future__ import annotations

import select
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus

from holdfast import clock
from holdfast.errors import InterruptedRunError, ServerError, VerificationError
from holdfast.postgres.base_backup_manifest import BackupManifest
from holdfast.postgres.base_backup_tar import BLOCK_BYTES, TarHeader, padding_after, parse_tar_header
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.replication_refusals import command_refusal, connection_lost
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn, PGresult

OLDEST_MAJOR: Final = 15
_IN_PLACE_HAS_ARCHIVE_SINCE: Final = 160000
_DOING: Final = "receiving the base backup"
_ARCHIVE, _MANIFEST, _DATA = b"nmd"
_DAMAGED_PAGES: Final = "XX001"  # data_corrupted: after all was sent (perform_base_backup in basebackup.c)
_WAKE_MS: Final = 1000
_ABANDONED_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class BackupTablespace:
    """One archive to come: a tablespace's number and place (None and empty: the data directory), and its size.

    ``location`` is absolute, or relative to the data directory for one in place.
    """

    oid: int | None
    location: bytes
    estimated_bytes: int


@dataclass(frozen=True, slots=True)
class BaseBackupStart:
    """Where recovery begins, and what is to come."""

    lsn: Lsn
    timeline: Timeline
    tablespaces: tuple[BackupTablespace, ...]


@dataclass(frozen=True, slots=True)
class BaseBackupEnd:
    """Up to where WAL is needed (exclusive). ``complaints``: what the server said of damaged pages, if anything."""

    lsn: Lsn
    timeline: Timeline
    complaints: tuple[str, ...]


class BaseBackup:
    """One base backup under way; for one thread at a time. ``start`` is known as soon as it is made."""

    def __init__(self, connection: PGconn, label: str) -> None:
        """Begin, which waits for a checkpoint at full speed. ServerError, ServerUnreachableError."""
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.socket, select.POLLIN)
        self._wanted_at: float | None = None
        self._notices: list[str] = []
        self._message = memoryview(b"")
        self._next: memoryview | None = None
        self._left = 0
        self._has_ended = False
        connection.notice_handler = self._notice
        try:
            connection.send_query(_command(label, connection.server_version).encode())
        except psycopg.Error as error:
            raise connection_lost(_DOING, error) from error
        self.manifest = BackupManifest()
        self.start = self._read_start()

    def keep_wanted(self) -> None:
        """Say, every few seconds, that somebody still waits for the backup: else reading ends by itself."""
        self._wanted_at = clock.monotonic()

    def members(self) -> Iterator[TarHeader]:
        """Yield what comes, paths relative to the data directory; contents are read, or passed over, in between.

        ServerUnreachableError when the connection is lost, ServerError when the server gave up, VerificationError when
        what comes is no archive. Afterwards the manifest is read, and ``finish`` may be called.
        """
        while not self._has_data():
            opening = self._next
            if opening is None:
                raise self._failure()
            self._next = None
            if opening[0] == _MANIFEST:
                self._read_manifest()
                return
            yield from self._members_below(_prefix(opening, self.start.tablespaces))

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with what comes next of the present member's content."""
        self._left -= len(buffer)
        if self._left < 0:
            raise ValueError("more is read of a file than there is")
        self._take(buffer)

    def finish(self) -> BaseBackupEnd:
        """Hear how the backup ended; errors as in ``members``, among them that a standby was promoted meanwhile."""
        self._wanted_at = None
        position: tuple[Lsn, Timeline] | None = None
        complaints: tuple[str, ...] = ()
        while (result := self._result()) is not None:
            if result.status == ExecStatus.TUPLES_OK:
                position = _position(result)
            elif _state(result) == _DAMAGED_PAGES:
                complaints = (*self._notices, _words(result))
            elif result.status != ExecStatus.COMMAND_OK:
                raise command_refusal(_DOING, result)
        if position is None:
            raise ServerError("the server did not say where the base backup ended", hint="look at its log")
        return BaseBackupEnd(*position, complaints)

    # -- the beginning

    def _read_start(self) -> BaseBackupStart:
        rows: list[PGresult] = []
        while (result := self._result()) is not None:
            if result.status == ExecStatus.COPY_OUT and len(rows) == 2:
                lsn, timeline = _position(rows[0])
                return BaseBackupStart(lsn, timeline, tuple(_tablespaces(rows[1])))
            if result.status != ExecStatus.TUPLES_OK:
                raise command_refusal("starting the base backup", result)
            rows.append(result)
        raise ServerError("the server did not begin the base backup", hint="look at its log")

    # -- archives

    def _members_below(self, prefix: bytes) -> Iterator[TarHeader]:
        block = bytearray(BLOCK_BYTES)
        while self._has_data():
            self._take(memoryview(block))
            header = parse_tar_header(bytes(block))
            if header is None:
                self._pass_over_archive()
                return
            self._left = header.size
            yield _below(prefix, header)
            self._pass_over(self._left + padding_after(header.size))

    def _read_manifest(self) -> None:
        while self._has_data():
            self.manifest.feed(self._message)
            self._message = self._message[:0]
        if self._next is not None:
            raise VerificationError("the server sent something after its list of files")
        self.manifest.finish()

    def _pass_over(self, length: int) -> None:
        while length:
            if not self._message and not self._has_data():
                raise self._failure()
            count = min(length, len(self._message))
            self._message = self._message[count:]
            length -= count

    def _pass_over_archive(self) -> None:
        while self._has_data():
            self._message = self._message[:0]

    def _take(self, buffer: memoryview) -> None:
        """Fill a buffer; the message at hand first. This is the inner loop: each round is a message of 32 KiB."""
        filled, wanted = 0, len(buffer)
        while filled < wanted:
            if not self._message and not self._has_data():
                raise self._failure()
            part = self._message[: wanted - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._message = self._message[len(part) :]

    def _has_data(self) -> bool:
        """Return whether there is more of this archive; if not, ``_next`` is what follows, None at the end of all."""
        while not self._message and self._next is None and not self._has_ended:
            message = self._receive()
            if message is None:
                self._has_ended = True
            elif message[0] == _DATA:
                self._message = message[1:]
            elif message[0] in (_ARCHIVE, _MANIFEST):
                self._next = message
        return bool(self._message)

    # -- messages

    def _receive(self) -> memoryview | None:
        """Return the next message, None when there are no more."""
        try:
            length, content = self._connection.get_copy_data(1)
            if not length:
                self._connection.consume_input()
                length, content = self._connection.get_copy_data(1)
            while not length:
                self._wait()
                length, content = self._connection.get_copy_data(1)
        except psycopg.Error as error:
            raise connection_lost(_DOING, error) from error
        return memoryview(content) if length > 0 else None

    def _result(self) -> PGresult | None:
        try:
            while self._connection.is_busy():
                self._wait()
            return self._connection.get_result()
        except psycopg.Error as error:
            raise connection_lost(_DOING, error) from error

    def _wait(self) -> None:
        """Wait until something has come in, however long that takes, as long as somebody wants it."""
        wanted_at = self._wanted_at
        has_come = self._poll.poll(_WAKE_MS)
        if not has_come and wanted_at is not None and clock.monotonic() - wanted_at > _ABANDONED_AFTER_S:
            raise InterruptedRunError("nobody waits for the base backup any more")
        self._connection.consume_input()

    def _failure(self) -> Exception:
        """Return why the stream ended too early."""
        while (result := self._result()) is not None:
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                return command_refusal(_DOING, result)
        return VerificationError("the base backup ended before all of it had come", hint="run the backup again")

    def _notice(self, result: PGresult) -> None:
        self._notices.append(_words(result))


def require_base_backup(major: int) -> None:
    """Raise ServerError for a version that sends its base backup in another way."""
    if major < OLDEST_MAJOR:
        raise ServerError(
            f"PostgreSQL {major} cannot be backed up by the replication protocol",
            hint=f"from {OLDEST_MAJOR} on it can; for {major} run Holdfast on the server itself, without 'method:'",
        )


def _command(label: str, server_version: int) -> str:
    quoted = label.replace("'", "''")
    options = [f"LABEL '{quoted}'", "PROGRESS", "CHECKPOINT 'fast'", "WAIT false", "MANIFEST 'yes'"]
    options.append("MANIFEST_CHECKSUMS 'CRC32C'")
    if server_version >= _IN_PLACE_HAS_ARCHIVE_SINCE:
        # before, this leaves tablespaces in place out; without it, places of 100 bytes and more make the backup fail
        options.append("TABLESPACE_MAP")
    return f"BASE_BACKUP ({', '.join(options)})"


def _position(result: PGresult) -> tuple[Lsn, Timeline]:
    return Lsn.parse((result.get_value(0, 0) or b"").decode()), Timeline(int(result.get_value(0, 1) or b"0"))


def _tablespaces(result: PGresult) -> Iterator[BackupTablespace]:
    for row in range(result.ntuples):
        oid, location, kib = (result.get_value(row, column) for column in range(3))
        yield BackupTablespace(int(oid) if oid else None, location or b"", int(kib or 0) * 1024)


def _prefix(opening: memoryview, tablespaces: tuple[BackupTablespace, ...]) -> bytes:
    """Return where an archive's files lie; a message opens it, with its name and the tablespace's place."""
    name, location, _ = bytes(opening[1:]).split(b"\0")
    if not location:
        return b""
    for tablespace in tablespaces:
        if name.partition(b".")[0] == b"%d" % (tablespace.oid or 0):
            return b"pg_tblspc/%d/" % (tablespace.oid or 0)
    raise VerificationError(f"the server sent an archive that it had not announced: {name!r}")


def _below(prefix: bytes, header: TarHeader) -> TarHeader:
    if not prefix:
        return header
    return replace(header, path=prefix + header.path)


def _state(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"").decode(errors="replace")


def _words(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
