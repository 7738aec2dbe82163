"""What the receiver tells of itself to ``wal status``: one small file in the spool, replaced as a whole.

It is told, not relied on: a spool that is full or gone is said, and does not keep WAL from being received.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock
from holdfast.errors import StorageError, reason_of

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from holdfast.progress import Reporter

STATE_NAME = "receive.json"
_WRITTEN_EVERY_S = 1.0
_LOSSES_KEPT = 20
_MODE = 0o640


class Activity(StrEnum):
    """What the receiver was doing when it last wrote its state."""

    STREAMING = "streaming"
    WAITING = "waiting"
    """It lost the server or the repository, and tries again."""
    ENDED = "ended"


class LostWal(msgspec.Struct, frozen=True):
    """WAL that the server no longer had: segments ``first`` to ``last``, both included; noticed at ``seen``."""

    first: str
    last: str
    seen: str


class ReceiveState(msgspec.Struct, kw_only=True):
    """The receiver at one moment. Positions as PostgreSQL writes them, instants ISO 8601 in UTC; None: not known yet.

    ``stored_lsn`` is durable in the repository; ``server_lsn`` is how far the server said that it had flushed. An
    empty ``slot`` was dropped on purpose.
    """

    service: str
    slot: str
    pid: int
    activity: Activity = Activity.WAITING
    system_identifier: str | None = None
    timeline: int | None = None
    received_lsn: str | None = None
    stored_lsn: str | None = None
    server_lsn: str | None = None
    is_synchronous: bool = False
    last_message: str | None = None
    last_stored: str | None = None
    last_error: str | None = None
    last_error_at: str | None = None
    lost_wal: list[LostWal] = []
    written: str = ""


class ReceiveStateFile:
    """The state and its file. What was lost is carried over from run to run: only a new base backup mends it."""

    def __init__(self, spool: Path, service: str, slot: str, reporter: Reporter) -> None:
        """Take over what the last run left. StorageError when the spool cannot be written, now at the beginning."""
        self._path = os.path.join(spool, STATE_NAME)
        before = read_state(spool)
        self.state = ReceiveState(service=service, slot=slot, pid=os.getpid())
        if before is not None:
            self.state.system_identifier = before.system_identifier
            self.state.stored_lsn, self.state.timeline = before.stored_lsn, before.timeline
            self.state.lost_wal = before.lost_wal
        self._due_at = float("-inf")
        self._writing = ThreadPoolExecutor(1, "wal-state")
        self._written: Future[None] | None = None
        self._reporter = reporter
        self._trouble: str | None = None
        self._put(self._content())

    def fail(self, message: str) -> None:
        """Note what went wrong."""
        self.state.last_error, self.state.last_error_at = message, now_text()
        self.state.activity = Activity.WAITING
        self.write()

    def lose(self, first: str, last: str, message: str) -> None:
        """Note WAL that nobody has any more; a loss that was known and has grown stays one loss."""
        known = [each for each in self.state.lost_wal if each.first != first]
        self.state.lost_wal = [*known, LostWal(first, last, now_text())][-_LOSSES_KEPT:]
        self.fail(message)

    def write_sometimes(self) -> None:
        """Write the state unless it was written within the last second, and do not wait for the disk to take it.

        On a file system that is busy with a checkpoint a small file may take seconds: the server must hear from us.
        """
        if clock.monotonic() < self._due_at or not (self._written is None or self._written.done()):
            return
        if self._written is not None:
            self._take_note(self._written)
        self._written = self._writing.submit(self._put, self._content())

    def write(self) -> None:
        """Write the state, and wait for it."""
        self._written = None
        self._take_note(self._writing.submit(self._put, self._content()))

    def _take_note(self, written: Future[None]) -> None:
        """Hear how a write ended; say once why the state cannot be written."""
        trouble = None
        try:
            written.result()
        except StorageError as error:
            trouble = error.message
            if trouble != self._trouble:
                self._reporter.warning(f"{trouble}; WAL is received all the same, and 'wal status' does not see it")
        self._trouble = trouble

    def _content(self) -> bytes:
        self._due_at = clock.monotonic() + _WRITTEN_EVERY_S
        self.state.written = now_text()
        return msgspec.json.encode(self.state) + b"\n"

    def _put(self, content: bytes) -> None:
        _replace(self._path, content)


def read_state(spool: Path) -> ReceiveState | None:
    """Return what a receiver last wrote; None when there is nothing, or nothing that can be read."""
    with suppress(OSError, msgspec.MsgspecError), open(os.path.join(spool, STATE_NAME), "rb") as file:
        return msgspec.json.decode(file.read(), type=ReceiveState)
    return None


def tell_slot_dropped(spool: Path) -> None:
    """Note that the slot was dropped on purpose, so that nobody misses it. StorageError when that cannot be written."""
    state = read_state(spool)
    if state is not None:
        state.slot = ""
        _replace(os.path.join(spool, STATE_NAME), msgspec.json.encode(state) + b"\n")


def _replace(path: str, content: bytes) -> None:
    temporary = f"{path}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {reason_of(error)}",
            hint="see 'wal: spool:' of the service: this account must own it",
        ) from error


def now_text() -> str:
    """Return the present instant as the state writes it."""
    return clock.now().isoformat(timespec="milliseconds")
