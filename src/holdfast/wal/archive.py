"""The archive of one cluster in a repository: append-only, one object a file, pinned to one system identifier.

The same name with the same bytes is success (a crash made PostgreSQL ask again); the same name with other bytes is
refused, and what was refused is kept apart for whoever must find out which of two clusters is the right one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import AlreadyExistsError, DamageError, VerificationError
from holdfast.postgres.timeline import Timeline, TimelineHistory, first_history, parse_history
from holdfast.repository.walfile import (
    STAMP_READ_BYTES,
    SealOptions,
    Stamp,
    content_digest,
    open_wal_file,
    read_stamp,
    require_whole,
    seal_wal_file,
)
from holdfast.wal.names import ArchivedFile, archive_prefix, conflict_name, kind_of, object_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.keys import Keys
    from holdfast.repository.walframes import PackedFrames
    from holdfast.storage.base import Buffer, Storage

DEFAULT_LEVEL = 1
DEFAULT_THREADS = 2


class WalConflictError(VerificationError):
    """The archive holds other bytes under this name."""


class Pushed(Enum):
    """What a push found."""

    NEW = "new"
    ALREADY_THERE = "already there"


class WalArchive:
    """The WAL of one system identifier. May be used from many threads; ``level`` is zstd's, 0 for none."""

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        system_identifier: str,
        *,
        level: int = DEFAULT_LEVEL,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self.system_identifier = system_identifier
        self._storage, self._keys = storage, keys
        self._level, self._threads = level, threads
        self._prefix = archive_prefix(system_identifier)

    def push(self, name: str, content: Buffer, packed: PackedFrames | None = None) -> Pushed:
        """Store a file; it is durable, and was verified, when this returns. ``packed``: its frames, if at hand already.

        Raises WalConflictError when the archive has other bytes under this name, having kept these apart;
        DamageError when the stored copy of the same bytes is not whole.
        """
        try:
            self._put(name, content, packed)
        except AlreadyExistsError:
            return self._compare(name, content)
        return Pushed.NEW

    def get(self, name: str) -> bytearray:
        """Return the content of a file. NotFoundError, DamageError; KeyRefusedError without an owner's key."""
        place = self._place(name)
        return open_wal_file(self._keys, place, self._storage.get(place), self._threads)

    def stamp(self, name: str) -> Stamp:
        """Return what is known of a file without opening its content; NotFoundError, DamageError."""
        place = self._place(name)
        size_bytes = self._storage.stat(place).size_bytes
        start = self._storage.get(place, length=min(size_bytes, STAMP_READ_BYTES))
        return read_stamp(self._keys, place, start)

    def list(self, timeline: Timeline | None = None) -> Iterator[ArchivedFile]:
        """Yield the files of one timeline, or of all, by name; what is no WAL file is passed over."""
        prefix = self._prefix if timeline is None else f"{self._prefix}/{timeline.hex}"
        for info in self._storage.list(prefix):
            name = info.name.rpartition("/")[2]
            try:
                kind = kind_of(name)
            except VerificationError:
                continue
            yield ArchivedFile(name, kind, info.size_bytes, info.modified)

    def delete_piece(self, name: str) -> None:
        """Remove a piece whose segment is whole in the archive; nothing else is ever removed here."""
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

    def _put(self, name: str, content: Buffer, packed: PackedFrames | None = None) -> None:
        options = SealOptions(
            self._level, self._threads, clock.now().isoformat(timespec="milliseconds"), os.uname().nodename
        )
        place = self._place(name)
        self._storage.put(place, seal_wal_file(self._keys, place, content, options, packed))

    def _compare(self, name: str, content: Buffer) -> Pushed:
        place = self._place(name)
        stamp = require_whole(self._keys, place, self._storage.get(place))
        digest = content_digest(self._keys, content)
        if (stamp.digest, stamp.length_bytes) == (digest, len(content)):
            return Pushed.ALREADY_THERE
        apart = conflict_name(name, digest)
        with suppress(AlreadyExistsError):  # the same refused bytes as the last time
            self._put(apart, content)
        raise WalConflictError(
            f"the archive holds other bytes under {name} (archived {stamp.archived} by {stamp.host})",
            hint=f"two clusters write into one archive: stop the wrong one; these bytes are kept as {apart}",
        )
