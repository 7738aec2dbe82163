"""What waits to be archived, and what became of the last attempt: the small file by which ``status`` knows.

The state is told, not relied on: nothing is acknowledged because of it, so it is written whole but not made durable.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock
from holdfast.postgres.segment import is_segment_name
from holdfast.wal.ready import waiting_files, wal_directory

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError
    from holdfast.wal.settings import WalSettings
    from holdfast.wal.spool import Spool

STATE_NAME = "push.json"
_GIB = 1024**3


class Queue(msgspec.Struct, frozen=True):
    """What the server wants archived and has no answer for. Sizes in bytes; a segment counts as whole."""

    files: int
    size_bytes: int
    limit_bytes: int
    oldest: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether more waits than may."""
        return self.size_bytes > self.limit_bytes

    def __str__(self) -> str:
        return (
            f"{self.files} WAL files wait to be archived, {self.size_bytes / _GIB:.1f} of "
            f"{self.limit_bytes / _GIB:.1f} GiB, from {self.oldest} on"
        )


class Standing(msgspec.Struct, frozen=True):
    """What waits (None: it cannot be seen), and which segments were given up and not yet told of."""

    queue: Queue | None
    gaps: tuple[str, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether more waits than may."""
        return self.queue is not None and self.queue.is_full


class Failure(msgspec.Struct, frozen=True):
    """Why shipping stands still; ``since`` (ISO 8601, UTC) is when it first failed."""

    message: str
    hint: str | None
    file: str | None
    since: str


class PushState(msgspec.Struct, frozen=True):
    """How shipping stands; times are ISO 8601 in UTC.

    ``by`` is who tells, ``push`` or ``serve``; ``queue`` is None where it cannot be seen; ``gaps`` are segments that
    were given up and that the archive was not told of yet.
    """

    updated: str
    by: str
    queue: Queue | None
    is_full: bool
    gaps: tuple[str, ...] = ()
    last_file: str | None = None
    last_success: str | None = None
    failure: Failure | None = None

    @property
    def standing(self) -> Standing:
        """What waits, and what was given up."""
        return Standing(self.queue, self.gaps)


class PushStateFile:
    """The state of one spool, as ``by`` tells it. What keeps it from being written does not keep WAL from going."""

    def __init__(self, spool: str, by: str) -> None:
        self._path, self._by = os.path.join(spool, STATE_NAME), by

    def read(self) -> PushState | None:
        """Return what was told last; None when nothing was, or it cannot be read."""
        try:
            with open(self._path, "rb") as file:
                return msgspec.json.decode(file.read(), type=PushState)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def tell_success(self, file: str, standing: Standing) -> None:
        """Tell that a file was stored: nothing of an earlier failure is true any more."""
        now = _now()
        self._write(msgspec.structs.replace(self._state(standing), last_file=file, last_success=now))

    def tell_standing(self, standing: Standing) -> None:
        """Tell what waits, when nothing else is new."""
        state, before = self._state(standing), self.read() or self._state(standing)
        last = {"last_file": before.last_file, "last_success": before.last_success, "failure": before.failure}
        self._write(msgspec.structs.replace(state, **last))

    def tell_failure(self, file: str | None, error: HoldfastError, standing: Standing) -> None:
        """Tell that a file, or all of them, cannot be stored; of several failures in a row, the first one's time."""
        now, before = _now(), self.read()
        since = before.failure.since if before is not None and before.failure is not None else now
        last = (before.last_file, before.last_success) if before is not None else (None, None)
        state = msgspec.structs.replace(
            self._state(standing),
            last_file=last[0],
            last_success=last[1],
            failure=Failure(_text(error.message), error.hint and _text(error.hint), file and _text(file), since),
        )
        self._write(state)

    def _state(self, standing: Standing) -> PushState:
        return PushState(_now(), self._by, standing.queue, standing.is_full, standing.gaps)

    def _write(self, state: PushState) -> None:
        temporary = f"{self._path}.{os.urandom(6).hex()}.new"
        with suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, msgspec.json.encode(state))
            finally:
                os.close(descriptor)
            os.replace(temporary, self._path)


def read_state(spool: str) -> PushState | None:
    """Return how shipping stood when somebody last told; None when nobody did."""
    return PushStateFile(spool, "").read()


def unanswered_files(settings: WalSettings, spool: Spool) -> list[str]:
    """Return the paths of the files that wait and are not acknowledged, in the order in which they will be asked for.

    ServerError when they cannot be listed.
    """
    directory = wal_directory(settings.data_directory)
    paths = (os.path.join(directory, name) for name in waiting_files(settings.data_directory))
    return [path for path in paths if not _is_answered(path, spool)]


def queue_of(settings: WalSettings, paths: list[str]) -> Queue:
    """Return the queue that these waiting files are."""
    names = [os.path.basename(path) for path in paths]
    segments = sum(map(is_segment_name, names))
    return Queue(len(names), segments * settings.segment_size, settings.queue_limit, names[0] if names else None)


def _is_answered(path: str, spool: Spool) -> bool:
    try:
        modified_ns = os.stat(path).st_mtime_ns
    except OSError:
        return False  # reading it will say why
    return spool.is_acknowledged(os.path.basename(path), modified_ns)


def _text(words: str) -> str:
    """Return words that a file can hold: a path may be no text."""
    return words.encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return clock.now().isoformat(timespec="milliseconds")
