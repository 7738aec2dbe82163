"""What Holdfast remembers of one service between runs: an unfinished swap, what is staged, checkpoints, the journal.

It lies outside of all directories that change hands. Every record is written whole and durably, or not at all; one run
at a time holds the lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec

from holdfast.errors import BusyError, HoldfastError, NoSpaceError, PermissionRefusedError, StorageError, reason_of
from holdfast.restore.durable import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o700, 0o600
_TEMPORARY_SUFFIX = ".new"
_Record = TypeVar("_Record", bound=msgspec.Struct)


class StateDirectory:
    """The state of one service; the directory is made when something is first written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock for a ``with`` block; BusyError when another run has it."""
        self.make(self.path)
        with (self.path / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(
                    "another run is restoring this service, or undoing that", hint="wait for it to end, then try again"
                ) from error
            yield

    def make(self, directory: Path) -> None:
        """Make a directory of the state, with those above it."""
        try:
            directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        except OSError as error:
            raise PermissionRefusedError(
                f"cannot make {directory}: {reason_of(error)}",
                hint="make it for the account that restores, or name another one: restore: {state: DIR}",
            ) from error

    def read(self, name: str, kind: type[_Record]) -> _Record | None:
        """Return a record, None when there is none; HoldfastError when it cannot be read."""
        path = self.path / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise PermissionRefusedError(f"no permission to read {path}", hint="run as its owner or as root") from error
        except (OSError, msgspec.MsgspecError) as error:
            raise HoldfastError(
                f"{path} cannot be read ({error})", hint="it says which directories were exchanged: repair it by hand"
            ) from error

    def write(self, name: str, record: msgspec.Struct) -> None:
        """Write a record durably, in place of an earlier one; StorageError when that is refused."""
        path = self.path / name
        self.make(path.parent)
        temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
        with written(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE_FILE)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_directory(path.parent)

    def remove(self, name: str) -> None:
        """Remove a record durably; one that is not there is no error."""
        path = self.path / name
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_directory(path.parent)

    def names(self, directory: str) -> list[str]:
        """Return the names of the records in a directory of the state."""
        try:
            return sorted(f"{directory}/{name}" for name in os.listdir(self.path / directory) if name.endswith(".json"))
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise PermissionRefusedError(
                f"no permission to look into {error.filename}", hint="run as its owner or as root"
            ) from error


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write a record at ``path`` into StorageError, or a kind of it."""
    try:
        yield
    except OSError as error:
        kind = StorageError
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            kind = NoSpaceError
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            kind = PermissionRefusedError
        raise kind(
            f"cannot write {path}: {reason_of(error)}",
            hint="remove the cause, then run the same command again",
        ) from error
