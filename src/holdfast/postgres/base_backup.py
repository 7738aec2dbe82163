"""BASE_BACKUP: a running server's files through a replication connection, as one stream that is read as it comes.

14 sends each archive in a COPY of its own, and is not supported here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import ServerError, VerificationError
from holdfast.postgres.base_backup_archives import Archives, BackupTablespace
from holdfast.postgres.base_backup_channel import DOING, Answer, AnswerKind, LibpqChannel
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.replication_refusals import server_refusal
from holdfast.postgres.timeline import Timeline
from holdfast.postgres.wire import is_readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn

    from holdfast.postgres.base_backup_channel import Channel
    from holdfast.postgres.base_backup_manifest import BackupManifest
    from holdfast.postgres.base_backup_tar import TarHeader

OLDEST_MAJOR: Final = 15
_IN_PLACE_HAS_ARCHIVE_SINCE: Final = 16
_DAMAGED_PAGES: Final = "XX001"  # data_corrupted: after all was sent (perform_base_backup in basebackup.c)


@dataclass(frozen=True, slots=True)
class BaseBackupStart:
    """Where recovery begins, and what is to come."""

    lsn: Lsn
    timeline: Timeline
    tablespaces: tuple[BackupTablespace, ...]


@dataclass(frozen=True, slots=True)
class BaseBackupEnd:
    """Up to where WAL is needed (exclusive).

    ``notices``: what the server said by the way. ``damage``: what it said at the end of damaged pages, else nothing.
    """

    lsn: Lsn
    timeline: Timeline
    notices: tuple[str, ...]
    damage: str = ""


class BaseBackup:
    """One base backup under way; for one thread at a time. ``start`` is known as soon as it is made."""

    def __init__(self, channel: Channel, command: str) -> None:
        """Begin, which waits for a checkpoint at full speed. ServerError, ServerUnreachableError."""
        self._channel = channel
        channel.send(command)
        self.start = self._read_start()
        self._archives = Archives(channel, self.start.tablespaces)

    def keep_wanted(self) -> None:
        """Say, every few seconds, that somebody still waits for the backup: else reading ends by itself."""
        self._channel.patience.renew()

    def give_up(self) -> None:
        """Make whatever waits for the server in another thread raise InterruptedRunError."""
        self._channel.patience.end()

    @property
    def manifest(self) -> BackupManifest:
        """The server's own list of files; complete when all members have come."""
        return self._archives.manifest

    def members(self) -> Iterator[TarHeader]:
        """Yield what comes; see ``Archives``. Afterwards the manifest is read, and ``finish`` may be called."""
        return self._archives.members()

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with what comes next of the present member's content."""
        self._archives.read_into(buffer)

    def finish(self) -> BaseBackupEnd:
        """Hear how the backup ended; errors as in ``members``, among them that a standby was promoted meanwhile."""
        self._channel.patience.suspend()
        position: tuple[Lsn, Timeline] | None = None
        damage = ""
        while (answer := self._channel.answer()) is not None:
            if answer.kind is AnswerKind.ROWS:
                position = _position(answer)
            elif answer.complaint is not None:
                if answer.complaint.state != _DAMAGED_PAGES:
                    raise server_refusal(DOING, answer.complaint)
                damage = answer.complaint.words
        if position is None:
            raise ServerError("the server did not say where the base backup ended", hint="look at its log")
        return BaseBackupEnd(*position, tuple(self._channel.notices), damage)

    def _read_start(self) -> BaseBackupStart:
        answers: list[Answer] = []
        while (answer := self._channel.answer()) is not None:
            if answer.complaint is not None:
                raise server_refusal("starting the base backup", answer.complaint)
            if answer.kind is AnswerKind.COPY and len(answers) == 2:
                lsn, timeline = _position(answers[0])
                return BaseBackupStart(lsn, timeline, tuple(_tablespaces(answers[1])))
            answers.append(answer)
        raise ServerError("the server did not begin the base backup", hint="look at its log")


def open_channel(connection: PGconn) -> Channel:
    """Return the quickest way to read from an idle connection; where libpq has to decrypt, it must read."""
    if not is_readable(connection):
        return LibpqChannel(connection)
    from holdfast.postgres.base_backup_socket import SocketChannel  # with numpy, which other commands do without

    return SocketChannel(connection.socket)


def require_base_backup(major: int) -> None:
    """Raise ServerError for a version that sends its base backup in another way."""
    if major < OLDEST_MAJOR:
        raise ServerError(
            f"PostgreSQL {major} cannot be backed up by the replication protocol",
            hint=f"from {OLDEST_MAJOR} on it can; for {major} run Holdfast on the server itself, without 'method:'",
        )


def base_backup_command(label: str, major: int) -> str:
    """Return the command for a server of a major version."""
    quoted = label.replace("'", "''")
    options = [f"LABEL '{quoted}'", "PROGRESS", "CHECKPOINT 'fast'", "WAIT false", "MANIFEST 'yes'"]
    options.append("MANIFEST_CHECKSUMS 'CRC32C'")
    if major >= _IN_PLACE_HAS_ARCHIVE_SINCE:
        # before, this leaves tablespaces in place out; without it, places of 100 bytes and more make the backup fail
        options.append("TABLESPACE_MAP")
    return f"BASE_BACKUP ({', '.join(options)})"


def _position(answer: Answer) -> tuple[Lsn, Timeline]:
    with _understood("a position"):
        ((lsn, timeline),) = answer.rows
        return Lsn.parse((lsn or b"").decode()), Timeline(int(timeline or b"0"))


def _tablespaces(answer: Answer) -> Iterator[BackupTablespace]:
    with _understood("its tablespaces"):
        for oid, location, kib in answer.rows:
            yield BackupTablespace(int(oid) if oid else None, location or b"", int(kib or 0) * 1024)


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Refuse an answer that is none of a server of PostgreSQL."""
    try:
        yield
    except (ValueError, VerificationError) as error:
        raise VerificationError(
            f"the server did not say {what} of the base backup, but something else",
            hint="see whether a pooler or proxy answers in the server's place: connect to the server itself",
        ) from error
