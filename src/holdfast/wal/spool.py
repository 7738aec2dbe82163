"""The spool: the directory in which the server's side (a shell script) and Holdfast's side meet.

An *acknowledgement* says that a file is durable in the repository. It is an empty file with the modification time of
the very file that was stored: the server's side compares the two times, and takes nothing else. So a file of the same
name from another life of the cluster (after a restore, from a rolled-back disk) is not acknowledged by an old one.
Acknowledgements are kept apart by repository, as those of one say nothing of another. They are made after the archive
has the file and claim nothing that is not durable by then: losing one costs a second look, so none is fsynced.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import StorageError, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ACK_DIRECTORY = "ack"
FETCHED_DIRECTORY = "fetched"
GAP_DIRECTORY = "gaps"
DIRECTORIES = (ACK_DIRECTORY, FETCHED_DIRECTORY, GAP_DIRECTORY)
_FORGOTTEN = "forgotten."
_MODE = 0o700


class Spool:
    """One service's spool, as the shipping of WAL into one repository sees it. May be used from many threads."""

    def __init__(self, path: str, repository_id: str) -> None:
        self.path = path
        self.ack_directory = os.path.join(path, ACK_DIRECTORY, repository_id)
        self.gap_directory = os.path.join(path, GAP_DIRECTORY)

    def acknowledge(self, name: str, modified_ns: int) -> None:
        """Say that the file of this name and modification time is durable in the repository."""
        path = os.path.join(self.ack_directory, name)
        try:
            descriptor = self._create(path)
            try:
                os.utime(descriptor, ns=(modified_ns, modified_ns))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise spool_error(path, error) from error

    def is_acknowledged(self, name: str, modified_ns: int) -> bool:
        """Whether the file of this name and modification time is durable in the repository."""
        try:
            return os.stat(os.path.join(self.ack_directory, name)).st_mtime_ns == modified_ns
        except OSError:
            return False

    def clean(self, wal_directory: str) -> None:
        """Remove what acknowledges files that the server no longer has."""
        for name in self._acknowledged():
            if not os.path.exists(os.path.join(wal_directory, name)):
                with suppress(OSError):  # another process cleans, too; or the directory is not ours, and stays as it is
                    os.unlink(os.path.join(self.ack_directory, name))

    def _acknowledged(self) -> Iterator[str]:
        with suppress(OSError):  # not made yet
            yield from os.listdir(self.ack_directory)

    def _create(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self.ack_directory, _MODE, exist_ok=True)
            return os.open(path, flags, 0o600)


def make_spool(path: str, owner: tuple[int, int]) -> None:
    """Make the directories of a spool, for one account (user id, group id) only; they may be there already."""
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        for directory in (path, *(os.path.join(path, name) for name in DIRECTORIES)):
            with suppress(FileExistsError):
                os.mkdir(directory, _MODE)
            _give(directory, owner)
    except OSError as error:
        raise spool_error(path, error) from error


def clear_acknowledgements(path: str) -> None:
    """Forget every acknowledgement in the spool at ``path``: the next push of each file asks the repository.

    They are put aside as a whole before they are removed, as a resident process goes on making new ones. What cannot be
    removed then counts no more, and is removed the next time. StorageError.
    """
    import shutil  # costs a cold push two milliseconds

    try:
        with suppress(FileNotFoundError):
            os.rename(os.path.join(path, ACK_DIRECTORY), os.path.join(path, f"{_FORGOTTEN}{os.urandom(6).hex()}"))
        with suppress(FileNotFoundError):
            for name in os.listdir(path):
                if name.startswith(_FORGOTTEN):
                    shutil.rmtree(os.path.join(path, name), ignore_errors=True)
    except OSError as error:
        raise spool_error(path, error) from error


def replace_file(path: str, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Give a small file of a spool new content: a reader sees the old or the new, a power cut leaves one of them.

    ``owner`` (user id, group id) gets it when we are root; None: it is ours.
    """
    temporary = f"{path}.{os.urandom(6).hex()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC  # the spool is another account's
    try:
        descriptor = os.open(temporary, flags, mode)
        try:
            os.fchmod(descriptor, mode)
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, *owner)
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise spool_error(path, error) from error


def spool_error(path: str, error: OSError) -> StorageError:
    """Return the error for what the operating system refused in a spool."""
    return StorageError(
        f"{path}: {reason_of(error)}",
        hint="the spool must belong to the server's account: make it as root (install -d -o ACCOUNT DIR), "
        "then 'holdfast wal setup'",
    )


def _give(directory: str, owner: tuple[int, int]) -> None:
    """Make a directory the account's own; a link that somebody put there is refused, not followed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, _MODE)
        if os.geteuid() == 0:
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)
