"""The resident process: it sees what the server wants archived, and ships it before ``archive_command`` asks.

It owns nothing that must survive it. What is durable is in the archive; what was acknowledged is in the spool; what
waits is in ``pg_wal``. So it may be killed at any moment, and starts by looking.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, StorageError
from holdfast.wal.ahead import Batch, is_barred, threads_for, within
from holdfast.wal.memory import release_memory
from holdfast.wal.ownership import require_adopted
from holdfast.wal.queue import PushStateFile, Standing, queue_of, unanswered_files
from holdfast.wal.ready import status_directory, wal_directory
from holdfast.wal.ship import Shipper
from holdfast.wal.spool import Spool
from holdfast.wal.surrender import noted_gaps, settle_gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.progress import Reporter
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.push import Connector
    from holdfast.wal.resident import Resident
    from holdfast.wal.settings import WalSettings

_BY = "serve"
_BATCH_S = 5.0
"""So long files are begun before the state is told again. At its end threads wait for the last one: not too short."""
_LOOK_EVERY_S = 0.2
_LOOK_ANYWAY_S = 5.0
"""A directory that has not changed is read all the same this often: not every file system tells every change."""
_CLEAN_EVERY_S = 10.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
_REFUSED_FOR_S = 60.0


class Serving:
    """Ships the WAL of one service until it is told to stop. One thread calls ``run``; ``stop`` is for signals."""

    def __init__(
        self, read_settings: Callable[[], WalSettings], connect: Connector, resident: Resident, reporter: Reporter
    ) -> None:
        self._read_settings, self._connect = read_settings, connect
        self._resident, self._reporter = resident, reporter
        self._settings = read_settings()
        self._archive: WalArchive | None = None
        self._refused = Refused(reporter)
        self._is_stopping = False
        self._trouble: str | None = None
        self._was_full = self._has_shipped = False
        self._wait_s = _FIRST_WAIT_S
        self._changed_ns, self._looked, self._cleaned = 0, 0.0, 0.0

    def stop(self) -> None:
        """End after what is in work."""
        self._is_stopping = True
        self._resident.wake()

    def run(self) -> None:
        """Serve; every failure is said once, kept in the state, and tried again.

        StorageError when the spool was taken away: another process may serve it then, and be waited for.
        """
        self._reporter.notice(f"serving {self._settings.stack}/{self._settings.service} ({self._settings.spool})")
        while not self._is_stopping:
            self._resident.require_in_place()
            self._resident.tell_alive()
            try:
                wait_s = self._look()
            except HoldfastError as error:
                wait_s = self._stand_still(error)
            if not self._is_stopping and self._resident.is_woken_within(wait_s):
                self._look_at_once()
        self._reporter.notice("stopped")

    @property
    def _spool(self) -> Spool:
        return Spool(self._settings.spool, self._settings.repository_id)

    def _look(self) -> float:
        """Ship what waits; return how long to wait before the next look, in seconds."""
        settings = self._read_settings()
        if settings is not self._settings:
            self._settings, self._archive = settings, None
        self._clean()
        if not self._has_news():
            return _LOOK_EVERY_S
        require_adopted(settings.data_directory)
        waiting = unanswered_files(settings, self._spool)
        self._heed_length(waiting)
        paths = self._refused.without(waiting)
        if paths:
            self._ship(paths)
            return 0.0  # more may have come meanwhile
        if self._trouble is None and not self._refused.names:
            self._resident.tell_shipping()
        if self._has_shipped:
            self._has_shipped = False
            release_memory()
        return _LOOK_EVERY_S

    def _ship(self, paths: list[str]) -> None:
        settings, spool = self._settings, self._spool
        archive = self._archive = self._archive or self._connect(settings)
        shipper = Shipper(settings, archive, spool)
        batch = Batch(shipper, min(len(paths), threads_for(settings)))
        self._has_shipped = True
        batch.ship(self._until_stopped(batch, within(paths, _BATCH_S)))
        if batch.shipped:
            settle_gaps(settings, archive, shipper, spool)
            self._go_on(batch.shipped[-1].name)
        self._refused.update(batch)
        if self._refused.names:
            self._tell_refused()
        self._look_at_once()

    def _until_stopped(self, batch: Batch, paths: Iterable[str]) -> Iterator[str]:
        """Yield paths; as soon as one was shipped, and not after all were, archive_command pushes no more by itself."""
        for path in paths:
            if self._is_stopping:
                return
            self._resident.tell_alive()
            if batch.shipped and not (batch.refused or self._refused.names):
                self._resident.tell_shipping()
            yield path

    def _has_news(self) -> bool:
        """Whether the directory of what waits has changed since it was read, or was read long ago."""
        try:
            changed_ns = os.stat(status_directory(self._settings.data_directory)).st_mtime_ns
        except OSError:
            return True  # reading it will say why
        now = clock.monotonic()
        if changed_ns == self._changed_ns and now - self._looked < _LOOK_ANYWAY_S:
            return False
        self._changed_ns, self._looked = changed_ns, now
        return True

    def _look_at_once(self) -> None:
        self._changed_ns = 0

    def _heed_length(self, waiting: list[str]) -> None:
        """Raise the alarm when the queue becomes full, and say when it is over."""
        queue = queue_of(self._settings, waiting)
        if queue.is_full == self._was_full:
            return
        self._was_full = queue.is_full
        if queue.is_full:
            self._reporter.warning(f"the queue is full: {queue}")
        else:
            self._reporter.notice(f"the queue is no longer full: {queue}")
        PushStateFile(self._settings.spool, _BY).tell_standing(Standing(queue, noted_gaps(self._spool)))

    def _go_on(self, name: str) -> None:
        self._wait_s = _FIRST_WAIT_S
        self._resident.tell_shipping()
        if self._trouble is not None:
            self._reporter.notice(f"shipping again, with {name}")
            self._trouble = None
        PushStateFile(self._settings.spool, _BY).tell_success(name, self._standing())

    def _tell_refused(self) -> None:
        """A file that is refused stands in the way of archive_command: nobody should wait for us to answer it."""
        self._resident.tell_failing()
        path, error = next(iter(self._refused.errors.items()))
        PushStateFile(self._settings.spool, _BY).tell_failure(os.path.basename(path), error, self._standing())

    def _stand_still(self, error: HoldfastError) -> float:
        """Say that nothing goes; return how long to wait before the next attempt, in seconds."""
        if isinstance(error, StorageError):
            self._archive = None  # the next attempt looks whether it is still the same repository
        self._look_at_once()
        self._resident.tell_failing()
        PushStateFile(self._settings.spool, _BY).tell_failure(None, error, self._standing())
        if error.message != self._trouble:
            self._trouble = error.message
            self._reporter.warning(f"cannot ship WAL: {error.message}")
        wait_s, self._wait_s = self._wait_s, min(self._wait_s * 2, _LONGEST_WAIT_S)
        return wait_s

    def _standing(self) -> Standing:
        try:
            return Standing(
                queue_of(self._settings, unanswered_files(self._settings, self._spool)), noted_gaps(self._spool)
            )
        except HoldfastError:
            return Standing(None)

    def _clean(self) -> None:
        now = clock.monotonic()
        if now - self._cleaned > _CLEAN_EVERY_S:
            self._cleaned = now
            self._spool.clean(wal_directory(self._settings.data_directory))


class Refused:
    """Files that will not become better by trying at once: left aside for a while, so that others go on."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._until: dict[str, float] = {}
        self.errors: dict[str, HoldfastError] = {}

    @property
    def names(self) -> list[str]:
        """The files that were refused when they were last tried."""
        return list(self.errors)

    def without(self, waiting: list[str]) -> list[str]:
        """Return the files that may be tried now; forget those that wait no more."""
        for path in set(self.errors) - set(waiting):
            del self.errors[path], self._until[path]
        now = clock.monotonic()
        return [path for path in waiting if self._until.get(path, 0.0) <= now and not is_barred(path, self.errors)]

    def update(self, batch: Batch) -> None:
        """Remember what a batch refused; each file's reason is said when it is new."""
        for path, error in batch.refused.items():
            self._until[path] = clock.monotonic() + _REFUSED_FOR_S
            known = self.errors.get(path)
            self.errors[path] = error
            if known is None or known.message != error.message:
                self._reporter.warning(f"cannot ship {os.path.basename(path)}: {error.message}")
