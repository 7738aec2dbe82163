"""A directory that one process holds and fills for another account: locked, emptied, never through a link.

The process may be root's and the account need not be trusted: so everything is reached from the directory's descriptor,
names are taken only by new files, and what somebody laid there before is removed, not opened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import BusyError, NoSpaceError, StorageError, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from holdfast.postgres.account import Account
    from holdfast.storage.base import Buffer

PID_NAME = "pid"
"""Holds the process id of who holds the directory."""
READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def locked_directory(spool: Path) -> int:
    """Return a descriptor of the directory, made if need be, emptied and ours alone, locked as long as it is open.

    BusyError when another process has it locked, StorageError when it cannot be made.
    """
    while True:
        try:
            spool.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(spool, READ_DIRECTORY)
        except OSError as error:
            if error.errno == errno.ENOENT and spool.parent.exists():
                continue  # it was removed in this moment, by its former owner
            raise unwritable(spool, error) from error
        if _lock(spool, descriptor):
            os.fchown(descriptor, os.geteuid(), os.getegid())
            os.fchmod(descriptor, 0o700)
            _empty(descriptor)
            return descriptor
        os.close(descriptor)


def _lock(spool: Path, descriptor: int) -> bool:
    """Lock the directory; whether it still has its path then. BusyError when another process has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.stat(spool), os.fstat(descriptor))
    except BlockingIOError:
        os.close(descriptor)
        raise BusyError(
            f"another process supplies WAL in {spool}", hint=f"its process id is in {spool / PID_NAME}"
        ) from None
    except FileNotFoundError:
        return False


def _empty(directory: int) -> None:
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            shutil.rmtree(name, dir_fd=directory)


def write_file(directory: int, name: str, content: Iterable[Buffer], account: Account) -> None:
    """Write a new file of an account, readable by it alone; OSError."""
    remove_file(name, directory)
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
    try:
        for part in content:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def remove_file(name: str, directory: int) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def unwritable(spool: Path, error: OSError) -> StorageError:
    """Return the error of ours for one of the system's."""
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    kind = NoSpaceError if is_full else StorageError
    return kind(
        f"cannot write into {spool}: {reason_of(error)}",
        hint="free some space on its file system, then try again" if is_full else "look at its owner and permissions",
    )
