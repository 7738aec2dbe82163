"""A file that is there whole or not at all, whenever its writer is killed.

It is written under a temporary name in the directory where it will be, made durable, and then published by a hard link,
which the kernel refuses when the name is taken: so of two writers exactly one wins. Temporary names hold a ``~``, which
no object name may, so what a killed writer leaves behind is never listed nor read; ``sweep`` removes it after a day.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast import clock
from holdfast.errors import StorageError
from holdfast.storage.beneath import READ_DIRECTORY, give_to_owner_of, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_AFTER: Final = timedelta(days=1)
_TEMPORARY_SIGN = "~"
_FILE_MODE = 0o640
_BLOCK_BYTES = 4096
_DIRECT_FROM_BYTES = 4 << 20
_WRITE_BYTES = 32 << 20
"""At most at once: all of a mapped file that is written in one call would be in memory for that time."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def publish_new(name: str, data: memoryview, directory: int) -> None:
    """Make a file durable under a name in an open directory; FileExistsError where the name is taken."""
    with _durable_file(data, directory) as temporary:
        _link(temporary, name, directory)
    sync_directory(directory)


def publish_over(name: str, data: memoryview, directory: int) -> None:
    """Make a file durable under a name in an open directory, in the place of what has it."""
    with _durable_file(data, directory) as temporary:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    sync_directory(directory)


def sweep(directory: int) -> None:
    """Remove what killed writers left in an open directory."""
    oldest_kept = (clock.now() - ABANDONED_AFTER).timestamp()
    listed = os.open(".", READ_DIRECTORY, dir_fd=directory)
    try:
        with os.scandir(listed) as entries:
            for entry in entries:
                if entry.name.startswith(_TEMPORARY_SIGN):
                    _remove_if_older(entry.name, listed, oldest_kept)
    finally:
        os.close(listed)


def _remove_if_older(name: str, directory: int, oldest_kept: float) -> None:
    with suppress(FileNotFoundError):  # another writer sweeps, too
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < oldest_kept:
            os.unlink(name, dir_fd=directory)


@contextmanager
def _durable_file(data: memoryview, directory: int) -> Iterator[str]:
    """Give the name of a new file with this content; whatever happens, the name is gone afterwards."""
    name = f"{_TEMPORARY_SIGN}{os.urandom(12).hex()}"
    descriptor = os.open(name, _CREATE, _FILE_MODE, dir_fd=directory)
    try:
        give_to_owner_of(directory, descriptor)
        _write_durably(descriptor, data)
        yield name
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):  # renamed into place
            os.unlink(name, dir_fd=directory)


def _write_durably(descriptor: int, data: memoryview) -> None:
    written = _write_past_the_cache(descriptor, data) if len(data) >= _DIRECT_FROM_BYTES else 0
    while written < len(data):  # a full disk may take a part: write(2)
        written += os.write(descriptor, data[written : written + _WRITE_BYTES])
    os.fdatasync(descriptor)
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes != len(data):
        raise StorageError(
            f"{size_bytes} bytes of {len(data)} were stored", hint="look at the file system, and at the kernel's log"
        )


def _write_past_the_cache(descriptor: int, data: memoryview) -> int:
    """Write the whole blocks of large data with O_DIRECT, return how many bytes; 0 where that is refused.

    A backup would otherwise push the database's own files out of the page cache, and copy every byte once more. It
    takes data that begins at a page (the engine's pack buffers do) and a file system that allows it: else EINVAL.
    """
    whole, written = len(data) - len(data) % _BLOCK_BYTES, 0
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while written < whole:
            written += os.write(descriptor, data[written : min(whole, written + _WRITE_BYTES)])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return written


def _link(temporary: str, name: str, directory: int) -> None:
    """Give a file its name, atomically, unless the name is taken: then raise FileExistsError."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        # A network file system may repeat a request of which only the answer was lost, and then says "exists":
        # link(2), BUGS. The inode tells.
        if not _is_same_file(temporary, name, directory):
            raise
    except OSError as error:
        from holdfast.storage.renaming import has_no_hard_links, rename_to_new

        if not has_no_hard_links(error):
            raise
        rename_to_new(temporary, name, directory)


def _is_same_file(one: str, other: str, directory: int) -> bool:
    first, second = (os.stat(name, dir_fd=directory, follow_symlinks=False) for name in (one, other))
    return os.path.samestat(first, second)
