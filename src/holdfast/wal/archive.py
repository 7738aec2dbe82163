"""The archive of one cluster in a repository: append-only, one object a file, pinned to one system identifier.

The same name with the same bytes is success (a crash made PostgreSQL ask again); the same name with other bytes is
refused, and what was refused is kept apart for whoever must find out which of two clusters is the right one.

A ``.partial`` is no exception to the first rule, but to the second: every server that is promoted in one segment calls
the beginning that it has so (``CleanupAfterArchiveRecovery`` in xlog.c), and what follows its WAL is whatever its file
was recycled from. Nobody's segment is taken by another, so each of them is kept, and is success.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import AlreadyExistsError, DamageError, VerificationError
from holdfast.model import host_name
from holdfast.postgres.timeline import Timeline, TimelineHistory, first_history, parse_history
from holdfast.repository.walfile import STAMP_READ_BYTES, Stamp, content_digest, read_head
from holdfast.repository.walframes import InMemory
from holdfast.repository.walread import SPAN_BYTES, StoredWalFile
from holdfast.repository.walseal import SealOptions, room_for, seal_wal_file
from holdfast.wal.names import (
    ArchivedFile,
    WalFileKind,
    archive_prefix,
    conflict_name,
    kind_of,
    object_name,
    other_partial_name,
    taken_name,
)
from holdfast.wal.room import room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.keys import Keys
    from holdfast.repository.walframes import Content
    from holdfast.storage.base import Buffer, Storage

DEFAULT_LEVEL = 1


class WalConflictError(VerificationError):
    """The archive holds other bytes under this name."""


class Pushed(Enum):
    """What a push found."""

    NEW = "new"
    ALREADY_THERE = "already there"


class WalArchive:
    """The WAL of one system identifier. May be used from many threads; ``level`` is zstd's, 0 for none.

    ``scratch`` is the directory for what is too large for memory while it is stored; None: the system's own.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        system_identifier: str,
        *,
        level: int = DEFAULT_LEVEL,
        scratch: str | None = None,
    ) -> None:
        self.system_identifier = system_identifier
        self._storage, self._keys = storage, keys
        self._level, self._scratch = level, scratch
        self._prefix = archive_prefix(system_identifier)

    def push(self, name: str, content: Buffer) -> Pushed:
        """Store a file that is in memory; see ``push_content``."""
        return self.push_content(name, InMemory(content))

    def push_content(self, name: str, content: Content) -> Pushed:
        """Store a file, a bounded part of it at a time; it is durable, and was verified, when this returns.

        Raises WalConflictError when the archive has other bytes under this name, having kept these apart;
        DamageError when the stored copy of the same bytes is not whole.
        """
        try:
            self._put(name, content)
        except AlreadyExistsError:
            return self._compare(name, content)
        return Pushed.NEW

    def open(self, name: str, content_limit_bytes: int) -> StoredWalFile:
        """Return a file to be read by parts; it is fetched at once where no content of this length needs more memory.

        NotFoundError, DamageError.
        """
        return StoredWalFile(self._storage, self._keys, self._place(name), room_for(content_limit_bytes))

    def get(self, name: str) -> bytearray:
        """Return the content of a small file. NotFoundError, DamageError; KeyRefusedError without an owner's key."""
        return StoredWalFile(self._storage, self._keys, self._place(name), SPAN_BYTES).content()

    def stamp(self, name: str) -> Stamp:
        """Return what is known of a file without opening its content; NotFoundError, DamageError."""
        place = self._place(name)
        size_bytes = self._storage.stat(place).size_bytes
        start = self._storage.get(place, length=min(size_bytes, STAMP_READ_BYTES))
        return read_head(self._keys, place, start).stamp

    def list(self, timeline: Timeline | None = None) -> Iterator[ArchivedFile]:
        """Yield the files of one timeline, or of all, by name; what is no WAL file is passed over."""
        return self._list(self._prefix if timeline is None else f"{self._prefix}/{timeline.hex}", "")

    def list_after(self, name: str) -> Iterator[ArchivedFile]:
        """Yield the files of a name's timeline that come after it; those before it cost nothing."""
        place = self._place(name)
        return self._list(place.rpartition("/")[0], place)

    def _list(self, prefix: str, after: str) -> Iterator[ArchivedFile]:
        for info in self._storage.list(prefix, after=after):
            name = info.name.rpartition("/")[2]
            try:
                kind = kind_of(name)
            except VerificationError:
                continue
            yield ArchivedFile(name, kind, info.size_bytes, info.modified)

    def delete_piece(self, name: str) -> None:
        """Remove a piece whose segment is whole in the archive."""
        self._storage.delete(self._place(name))

    def discard(self, name: str) -> None:
        """Remove other bytes that were kept apart under a taken name; VerificationError for all else, which stays."""
        taken_name(name)
        self._storage.delete(self._place(name))

    def history(self, timeline: Timeline) -> TimelineHistory:
        """Return the past of a timeline from its history file; NotFoundError when the archive lacks it."""
        if timeline == 1:
            return first_history()
        name = f"{timeline.hex}.history"
        try:
            return parse_history(timeline, self.get(name).decode())
        except UnicodeDecodeError:
            raise DamageError(self._place(name), "it is not a history file") from None

    def _place(self, name: str) -> str:
        return object_name(self.system_identifier, name)

    def _put(self, name: str, content: Content) -> None:
        options = SealOptions(self._level, clock.now().isoformat(timespec="milliseconds"), host_name())
        place = self._place(name)
        with room(room_for(content.length_bytes), self._scratch) as memory:
            self._storage.put(place, seal_wal_file(self._keys, place, content, options, memory))

    def _compare(self, name: str, content: Content) -> Pushed:
        stored = self.open(name, content.length_bytes)
        deque(stored.proven(), maxlen=0)
        digest, stamp = content_digest(self._keys, content), stored.stamp
        if (stamp.digest, stamp.length_bytes) == (digest, content.length_bytes):
            return Pushed.ALREADY_THERE
        if kind_of(name) is WalFileKind.PARTIAL:
            return self.push_content(other_partial_name(name, digest), content)
        apart = conflict_name(name, digest)
        with suppress(AlreadyExistsError):  # the same refused bytes as the last time
            self._put(apart, content)
        raise WalConflictError(
            f"the archive holds other bytes under {name} (archived {stamp.archived} by {stamp.host})",
            hint=f"two clusters write into one archive: stop the wrong one; these bytes are kept as {apart}",
        )
