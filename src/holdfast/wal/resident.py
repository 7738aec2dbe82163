"""How one resident process makes itself known in the spool: alone, alive, and by a FIFO through which it is woken."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from holdfast import crashpoint, process
from holdfast.crashpoint import CrashPoint
from holdfast.errors import BusyError, StorageError
from holdfast.wal.archive_command import PID_NAME, SHIPPING, STUCK_NAME, WAKE_NAME
from holdfast.wal.spool import spool_error

if TYPE_CHECKING:
    from types import TracebackType

_FAILING = "failing"
_START_AGAIN = "start 'holdfast wal serve' again, as systemd does by itself"
_DRAIN_BYTES = 65536


class Resident:
    """This process as the one resident of a spool, for the time of a ``with`` block; BusyError when there is one."""

    def __init__(self, spool: str) -> None:
        self._spool = spool
        self._lock = -1
        self._wake = -1
        self._word = ""

    def __enter__(self) -> Self:
        path = os.path.join(self._spool, PID_NAME)
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            self._require_alone(path)
            self._wake = _open_fifo(os.path.join(self._spool, WAKE_NAME))
        except OSError as error:
            raise spool_error(path, error) from error
        self.tell_failing()  # until the first success shows that waiting for this process is worth it
        crashpoint.reach(CrashPoint.SERVE_LOCKED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            os.ftruncate(self._lock, 0)
        os.close(self._wake)
        os.close(self._lock)

    def require_in_place(self) -> None:
        """Raise StorageError when the spool was removed, or made anew: nobody finds this process in it any more."""
        for name, descriptor in ((PID_NAME, self._lock), (WAKE_NAME, self._wake)):
            path = os.path.join(self._spool, name)
            try:
                is_ours = os.path.samestat(os.stat(path), os.fstat(descriptor))
            except OSError as error:
                raise spool_error(path, error) from error
            if not is_ours:
                raise StorageError(f"{path} was made anew by somebody else", hint=_START_AGAIN)

    def tell_shipping(self) -> None:
        """Let ``archive_command`` wait for this process."""
        self._tell(SHIPPING)

    def tell_failing(self) -> None:
        """Let ``archive_command`` push by itself at once."""
        self._tell(_FAILING)

    def tell_alive(self) -> None:
        """Remove the mark of somebody who waited in vain: this process takes notice again."""
        with suppress(OSError):
            os.unlink(os.path.join(self._spool, STUCK_NAME))

    def is_woken_within(self, seconds: float) -> bool:
        """Wait some seconds, or until woken; return whether somebody woke us."""
        ready, _, _ = select.select([self._wake], [], [], seconds)
        if ready:
            with suppress(BlockingIOError):
                os.read(self._wake, _DRAIN_BYTES)
        return bool(ready)

    def wake(self) -> None:
        """End a wait; may be called from a signal handler."""
        with suppress(OSError):
            os.write(self._wake, b"\n")

    def _require_alone(self, path: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            holder = os.pread(self._lock, 100, 0).decode(errors="replace").split()[:1]
            os.close(self._lock)
            raise BusyError(
                f"another process serves this spool ({path}, process {holder[0] if holder else 'unknown'})",
                hint="one is enough; stop it before starting another",
            ) from None

    def _tell(self, word: str) -> None:
        """Write number, beginning and word: one write, as readers hold no lock; a torn line counts as nobody."""
        if word != self._word:
            line = f"{os.getpid()} {process.began(os.getpid())} {word}\n".encode()
            os.pwrite(self._lock, line, 0)
            os.ftruncate(self._lock, len(line))
            self._word = word


def is_served(spool: str) -> bool:
    """Whether a resident process serves a spool now."""
    try:
        descriptor = os.open(os.path.join(spool, PID_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_fifo(path: str) -> int:
    """Return a descriptor of the FIFO, made if need be, that reads and writes and never blocks."""
    with suppress(FileNotFoundError):
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.unlink(path)
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
