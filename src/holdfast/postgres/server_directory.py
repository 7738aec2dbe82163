"""A private directory for one server that we start: its socket, its log, who may connect. It is not the data directory.

It is removed when its server has ended; if we were killed before that, by whoever makes the next one. A lock tells that
its process is there, the server's own lock file of the socket that the server is: it may outlive the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast import clock

if TYPE_CHECKING:
    from holdfast.postgres.account import Account

PORT: Final = 5432
"""Only part of the socket's name: the directory is private."""

_PARENT = Path("/tmp")  # noqa: S108 - mkdtemp makes it; a socket's path may have 107 bytes only, so not just anywhere
_PREFIX = "holdfast-pg-"
_SOCKET_LOCK = f".s.PGSQL.{PORT}.lock"
"""Its first line is the server's process id (``CreateLockFile`` in ``src/backend/utils/init/miscinit.c``)."""
_YOUNG_S = 600


class ServerDirectory:
    """One such directory, made for a server that runs as ``account``; held until it is removed or left."""

    def __init__(self, account: Account) -> None:
        _remove_forgotten({account.uid, os.geteuid()})
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PARENT))
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        (self.path / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n")
        (self.path / "postgresql.conf").touch()
        for path in (*self.path.iterdir(), self.path):
            account.take_over(path)

    def leave(self) -> None:
        """Leave it to the server, which outlives this process."""
        os.close(self._held)

    def remove(self) -> None:
        """Remove it; the server has ended."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def _remove_forgotten(owners: set[int]) -> None:
    """Remove what processes that were killed left behind, of these owners, once no server uses it any more."""
    for directory in _PARENT.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = directory.lstat()
            is_old = clock.now().timestamp() - status.st_mtime > _YOUNG_S
            if status.st_uid in owners and is_old and not directory.is_symlink() and not _has_server(directory):
                _remove_unless_held(directory)


def _remove_unless_held(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    finally:
        os.close(descriptor)


def _has_server(directory: Path) -> bool:
    try:
        first = (directory / _SOCKET_LOCK).read_text().partition("\n")[0]
    except FileNotFoundError:
        return False
    return first.isdecimal() and Path("/proc", first).exists()
