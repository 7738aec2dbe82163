"""Directories beneath a root, reached without ever following a symbolic link out of it.

Every step is one ``openat`` with ``O_NOFOLLOW`` on a descriptor of the directory above, so nobody who can write into
the repository can lead a reader or a writer elsewhere, not even by swapping a directory for a link in mid-way.
Nothing is kept open between operations: a held descriptor would keep a disk from being unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_PATH needs no right to read the directory, and costs no request on a network file system.
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o750


class Root:
    """The directory that holds a repository."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._inode: int | None = None
        self._durable: set[tuple[str, ...]] = set()

    @contextmanager
    def directory(self, parts: Sequence[str]) -> Iterator[int]:
        """Give an ``O_PATH`` descriptor of a directory that is there.

        Raises FileNotFoundError or NotADirectoryError when it is not, StorageError when a link is on the way.
        """
        descriptor = self._open_root()
        try:
            for part in parts:
                descriptor = _exchange(descriptor, open_step(part, descriptor))
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def made_directory(self, parts: Sequence[str]) -> Iterator[int]:
        """Give an ``O_PATH`` descriptor of a directory, made if need be, whose path from the root is durable.

        Also a directory that was there already is made durable once: whoever made it may not have come that far.
        """
        descriptor = self._make_root()
        try:
            for depth in range(1, len(parts) + 1):
                descriptor = self._make_step(tuple(parts[:depth]), descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        seen_before = self._inode  # before the attempt: another thread may make the root just after it
        try:
            descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if seen_before is not None:
                raise self._vanished() from None
            raise
        # The inode tells the repository from the empty directory on which its disk was mounted. The device number
        # would not do: a network file system gets a new one each time that it is mounted.
        inode = os.fstat(descriptor).st_ino
        if seen_before not in {None, inode}:
            os.close(descriptor)
            raise self._vanished()
        self._inode = inode
        return descriptor

    def _make_root(self) -> int:
        try:
            return self._open_root()
        except FileNotFoundError:
            pass
        parent = os.path.dirname(self.path)
        try:
            with suppress(FileExistsError):  # another writer was faster
                os.mkdir(self.path, _DIRECTORY_MODE)
        except FileNotFoundError:
            raise StorageError(
                f"{parent}: no such directory", hint="create it, or mount the disk that should be there"
            ) from None
        descriptor = os.open(parent, _STEP & ~os.O_NOFOLLOW)
        try:
            sync_directory(descriptor)
        finally:
            os.close(descriptor)
        return self._open_root()

    def _make_step(self, path: tuple[str, ...], above: int) -> int:
        """Go one step down from ``above``; the caller holds ``above`` until this returns, and then the result."""
        with suppress(FileExistsError):  # another writer was faster
            if not _is_there(path[-1], above):
                os.mkdir(path[-1], _DIRECTORY_MODE, dir_fd=above)
                give_to_owner_of(above, path[-1])
                self._durable.discard(path)
        if path not in self._durable:
            sync_directory(above)
            self._durable.add(path)
        return _exchange(above, open_step(path[-1], above))

    def _vanished(self) -> StorageError:
        return StorageError(
            f"{self.path}: no longer the directory that it was", hint="see whether its file system is still mounted"
        )


def open_step(name: str, directory: int) -> int:
    """Return an ``O_PATH`` descriptor of the directory ``name`` in ``directory``; raise StorageError for a link."""
    try:
        return os.open(name, _STEP, dir_fd=directory)
    except NotADirectoryError:
        # The kernel says ENOTDIR for a link, too: O_DIRECTORY is looked at first, open(2).
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise refused_link(name) from None
        raise


def refused_link(name: str) -> OSError:
    """Return the error for a symbolic link where a file or a directory should be."""
    return OSError(errno.ELOOP, f"{name} is a symbolic link")


def sync_directory(directory: int) -> None:
    """Make the names in a directory durable, given an ``O_PATH`` descriptor of it."""
    descriptor = os.open(".", READ_DIRECTORY, dir_fd=directory)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:  # a file system that cannot: it orders names itself
            raise
    finally:
        os.close(descriptor)


def give_to_owner_of(directory: int, made: int | str) -> None:
    """Give what root has just made in a directory to the directory's owner: he reads and writes here, too.

    Such as the server's account, whose WAL lies beside what root stored when it restored. ``directory`` is open,
    ``made`` a descriptor of a file, or the name of a directory. Where the file system knows no such owner, root keeps
    it.
    """
    owner = os.fstat(directory)
    if os.geteuid() or not owner.st_uid:
        return
    with suppress(OSError):
        if isinstance(made, int):
            os.fchown(made, owner.st_uid, owner.st_gid)
        else:
            os.chown(made, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new
