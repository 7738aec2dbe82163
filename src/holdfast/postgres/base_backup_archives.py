"""The archives of a base backup: one for each tablespace, one after the other, then the server's list of files.

From 15 on all of them come in one COPY, as messages that begin with a letter: a new archive, the manifest, data,
progress (manual, section 55.4, and ``src/backend/backup/basebackup_copy.c``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_channel import DOING, MANIFEST, AnswerKind
from holdfast.postgres.base_backup_manifest import BackupManifest
from holdfast.postgres.base_backup_tar import BLOCK_BYTES, TarHeader, padding_after, parse_tar_header
from holdfast.postgres.replication_refusals import server_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.base_backup_channel import Channel

_UNWANTED_BYTES: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class BackupTablespace:
    """One archive to come: a tablespace's number and place (None and empty: the data directory), and its size.

    ``location`` is absolute, or relative to the data directory for one in place.
    """

    oid: int | None
    location: bytes
    estimated_bytes: int


class Archives:
    """What comes, member by member; ``manifest`` is complete when all have come."""

    def __init__(self, channel: Channel, announced: tuple[BackupTablespace, ...]) -> None:
        self._channel, self._announced = channel, announced
        self._left = 0
        self._unwanted = memoryview(bytearray(_UNWANTED_BYTES))
        self.manifest = BackupManifest()

    def members(self) -> Iterator[TarHeader]:
        """Yield what comes, paths relative to the data directory; contents are read, or passed over, in between.

        ServerUnreachableError when the connection is lost, ServerError when the server gave up, VerificationError when
        what comes is no archive.
        """
        while True:
            self._pass_over_archive()
            opening = self._channel.opening()
            if opening is None:
                raise self._failure()
            if opening[0] == MANIFEST:
                self._read_manifest()
                return
            yield from self._members_below(_prefix(opening, self._announced))

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with what comes next of the present member's content."""
        self._left -= len(buffer)
        if self._left < 0:
            raise ValueError("more is read of a file than there is")
        self._fill(buffer)

    def _members_below(self, prefix: bytes) -> Iterator[TarHeader]:
        block = memoryview(bytearray(BLOCK_BYTES))
        while True:
            self._fill(block)
            header = parse_tar_header(bytes(block))
            if header is None:  # what follows are more zeros
                return
            self._left = header.size
            yield replace(header, path=prefix + header.path) if prefix else header
            self._pass_over(self._left + padding_after(header.size))

    def _read_manifest(self) -> None:
        while count := self._channel.read(self._unwanted):
            self.manifest.feed(self._unwanted[:count])
        if self._channel.opening() is not None:
            raise VerificationError("the server sent something after its list of files")
        self.manifest.finish()

    def _fill(self, buffer: memoryview) -> None:
        filled = 0
        while filled < len(buffer):
            count = self._channel.read(buffer[filled:])
            if not count:
                raise self._failure()
            filled += count

    def _pass_over(self, length: int) -> None:
        while length:
            part = self._unwanted[: min(length, _UNWANTED_BYTES)]
            self._fill(part)
            length -= len(part)

    def _pass_over_archive(self) -> None:
        while self._channel.read(self._unwanted):
            pass

    def _failure(self) -> Exception:
        """Return why an archive ended too early; where another one follows, no answer does before that one's end."""
        has_next = self._channel.opening() is not None
        while not has_next and (answer := self._channel.answer()) is not None:
            if answer.kind is AnswerKind.ERROR and answer.complaint is not None:
                return server_refusal(DOING, answer.complaint)
        return VerificationError("the base backup ended before all of it had come", hint="run the backup again")


def _prefix(opening: bytes, announced: tuple[BackupTablespace, ...]) -> bytes:
    """Return where an archive's files lie; a message opens it, with its name and the tablespace's place."""
    name, location, *_ = (*opening[1:].split(b"\0"), b"")
    if not location:
        return b""
    for tablespace in announced:
        if name.partition(b".")[0] == b"%d" % (tablespace.oid or 0):
            return b"pg_tblspc/%d/" % (tablespace.oid or 0)
    raise VerificationError(f"the server sent an archive that it had not announced: {name!r}")
