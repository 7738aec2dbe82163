"""Sessions: writers tell each other, and later deletion, that they are at work.

A session is an object ``sessions/<id>-<beat>``; a heartbeat stores the next one and removes the one before, because
objects are never rewritten. A session whose process is gone (same host) or whose last beat is too old is stale: what
it stored and never indexed is worth salvaging.
"""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock, crashpoint, process
from holdfast.crashpoint import CrashPoint
from holdfast.errors import BusyError, DamageError, NotFoundError, StorageError
from holdfast.model import host_name, new_object_id
from holdfast.repository.sealed import ObjectType, open_record, seal_object
from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage

SESSION_PREFIX = "sessions"
_BEAT_EVERY_S = 60.0
_STALE_AFTER = timedelta(minutes=10)


class SessionRecord(msgspec.Struct, frozen=True):
    """One writer: what it works for, where, and when it was last heard of (ISO 8601, UTC)."""

    id: str
    stack: str
    service: str
    host: str
    boot_id: str
    pid: int
    process_started: str
    started: str
    beat: int
    seen: str

    @property
    def object_name(self) -> str:
        """Where this heartbeat is stored."""
        return f"{SESSION_PREFIX}/{self.id}-{self.beat:06d}"

    @property
    def instants(self) -> tuple[str, ...]:
        """Its times, as text."""
        return (self.seen,)

    def is_alive(self, now: datetime) -> bool:
        """Whether its process runs (same boot of the same host), else whether it was heard of lately."""
        if self.boot_id and self.boot_id == _boot_id():
            return process.began(self.pid) == self.process_started
        return now - datetime.fromisoformat(self.seen) < _STALE_AFTER


class Session:
    """This writer's own session: beats until it is closed."""

    def __init__(self, storage: Storage, keys: Keys, record: SessionRecord) -> None:
        self._storage, self._keys, self._record = storage, keys, record
        self._closing = threading.Event()
        self._thread = Thread(self._beat, "session")

    @classmethod
    def open(cls, storage: Storage, keys: Keys, stack: str, service: str) -> tuple[Session, list[SessionRecord]]:
        """Announce a writer for a service; return it and the other sessions found, alive or stale.

        Raises BusyError when another writer of the same service is alive. Two that start at once both see each
        other; the later one, by (start, id), gives way.
        """
        record = _new_record(stack, service)
        others = list(read_sessions(storage, keys))
        _require_alone(record, others)
        storage.put(record.object_name, _seal(keys, record))
        try:
            _require_alone(record, list(read_sessions(storage, keys, but=record.id)))
        except BusyError:
            storage.delete(record.object_name)
            raise
        session = cls(storage, keys, record)
        session._thread.start()
        crashpoint.reach(CrashPoint.SESSION_OPENED)
        return session, others

    def close(self) -> None:
        """Stop beating and withdraw the session."""
        self._closing.set()
        self._thread.wait()
        withdraw(self._storage, self._record)
        crashpoint.reach(CrashPoint.SESSION_CLOSED)

    def _beat(self) -> None:
        while not self._closing.wait(_BEAT_EVERY_S):
            before = self._record
            after = msgspec.structs.replace(before, beat=before.beat + 1, seen=_stamp())
            try:
                self._storage.put(after.object_name, _seal(self._keys, after))
            except StorageError:
                continue  # the run itself will meet the same storage, and say so
            self._record = after
            withdraw(self._storage, before)


def read_sessions(storage: Storage, keys: Keys, but: str | None = None) -> Iterator[SessionRecord]:
    """Yield every session, one record each (its newest heartbeat), except the one with the id ``but``."""
    newest: dict[str, str] = {}
    for info in storage.list(SESSION_PREFIX):
        newest[info.name.rpartition("-")[0]] = info.name  # the listing is in order, so the last beat wins
    newest.pop(f"{SESSION_PREFIX}/{but}", None)
    for name in newest.values():
        try:
            yield open_record(keys, ObjectType.SESSION, name, storage.get(name), SessionRecord)
        except NotFoundError:
            continue  # withdrawn, or beaten on, since the listing
        except DamageError as error:
            hint = "make sure that no backup is running, then delete this object from the storage"
            raise DamageError(name, error.reason, hint=hint) from error


def withdraw(storage: Storage, record: SessionRecord) -> None:
    """Remove a session's record; where that fails it becomes stale, which is no reason to call the run failed."""
    try:
        storage.delete(record.object_name)
    except StorageError:
        return


def _require_alone(record: SessionRecord, others: list[SessionRecord]) -> None:
    for other in others:
        is_same = (other.stack, other.service) == (record.stack, record.service)
        is_first = (other.started, other.id) < (record.started, record.id)
        if is_same and is_first and other.is_alive(clock.now()):
            raise BusyError(
                f"another backup of {record.service} is running (host {other.host}, process {other.pid}, "
                f"since {other.started})",
                hint="wait for it, or end that process; a dead one is noticed by itself",
            )


def _new_record(stack: str, service: str) -> SessionRecord:
    present, pid = _stamp(), os.getpid()
    return SessionRecord(
        new_object_id(),
        stack,
        service,
        host_name(),
        _boot_id(),
        pid,
        process.began(pid),
        present,
        0,
        present,
    )


def _seal(keys: Keys, record: SessionRecord) -> bytes:
    return seal_object(keys, ObjectType.SESSION, record.object_name, msgspec.json.encode(record))


def _stamp() -> str:
    return clock.now().isoformat(timespec="microseconds")


def _boot_id() -> str:
    """Return this boot's id and process namespace (proc(5)), or "" where there is none: then only heartbeats tell.

    Containers of one host share its boot, but not their process numbers.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
