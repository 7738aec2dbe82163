"""The storage in a directory, on a local disk or a mounted one.

An object is a file whose path is its name. It is written whole under a temporary name in the directory where it
will be, made durable, and then published by a hard link, which the kernel refuses when the name is taken: so an
object is there whole or not at all, whenever the writer is killed, and of two writers exactly one wins. Temporary names
hold a ``~``, which no object name may, so what a killed writer leaves behind is never listed nor read; once it is a day
old, it is removed by the next backup or resident process that writes into its directory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import AlreadyExistsError, NotFoundError, StorageError
from holdfast.storage.base import ObjectInfo, require_name
from holdfast.storage.beneath import READ_DIRECTORY, Root, give_to_owner_of, refused_link, sync_directory
from holdfast.storage.listing import walk
from holdfast.storage.oserrors import translated
from holdfast.storage.ranges import resolve_range

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer

_TEMPORARY_SIGN = "~"
_ABANDONED_AFTER = timedelta(days=1)
_FILE_MODE = 0o640
_BLOCK_BYTES = 4096
_DIRECT_FROM_BYTES = 4 << 20
_WRITE_BYTES = 32 << 20
"""At most at once: all of a mapped file that is written in one call would be in memory for that time."""
# O_NONBLOCK: opening a FIFO that somebody put there must not hang. It changes nothing for regular files.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FilesStorage:
    """Objects as files beneath a root directory, which is made by the first ``put`` when only its parent is there.

    A root that was seen once must stay the same directory: a disk that was unmounted is an error, not an empty
    repository. A delete is durable when it returns, so that no power cut brings a snapshot back without its packs.
    """

    def __init__(self, path: str) -> None:
        self._root = Root(path)
        self._has_written = False
        self._swept: dict[str, float] = {}

    @property
    def url(self) -> str:
        """The location, as shown to people: the path of the root."""
        return self._root.path

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object durably; see ``Storage.put``."""
        parents, leaf = _split(name)
        publish = _publish_new if must_not_exist else os.rename
        with translated(f"put {name}"), self._root.made_directory(parents) as directory:
            if must_not_exist and _is_taken(leaf, directory):
                raise AlreadyExistsError(f"put {name}: the object is already there")
            self._sweep_daily("/".join(parents), directory)
            with _temporary_file(directory) as (temporary, descriptor):
                _write_durably(descriptor, memoryview(data).cast("B"))
                publish(temporary, leaf, src_dir_fd=directory, dst_dir_fd=directory)
            sync_directory(directory)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of an object, read once into the result; see ``Storage.get``."""
        with self._parent("get", name) as (directory, leaf):
            descriptor = os.open(leaf, _READ, dir_fd=directory)
            try:
                found = os.fstat(descriptor)
                _require_regular("get", name, found)
                start, count = resolve_range(name, found.st_size, offset, length)
                return _read_fully(name, descriptor, start, count)
            finally:
                os.close(descriptor)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in the order of their names; see ``Storage.list``."""
        parts = require_name(prefix).split("/") if prefix else []
        beginning = f"{prefix}/" if prefix else ""
        with translated(f"list {prefix or self.url}"):
            top = self._open_top(parts)
            if top is not None:
                yield from walk(top, beginning, after)

    def delete(self, name: str) -> None:
        """Remove an object durably; see ``Storage.delete``."""
        parents, leaf = _split(name)
        with (
            translated(f"delete {name}"),
            suppress(FileNotFoundError, NotADirectoryError),
            self._root.directory(parents) as directory,
        ):
            os.unlink(leaf, dir_fd=directory)
            sync_directory(directory)

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object; see ``Storage.stat``."""
        with self._parent("stat", name) as (directory, leaf):
            found = os.stat(leaf, dir_fd=directory, follow_symlinks=False)
            _require_regular("stat", name, found)
            return ObjectInfo(name, found.st_size, clock.nearest_instant(found.st_mtime))

    @contextmanager
    def _parent(self, verb: str, name: str) -> Iterator[tuple[int, str]]:
        """Give the directory of an object that is to be looked at, and its name there; absence is NotFoundError."""
        parents, leaf = _split(name)
        with translated(f"{verb} {name}"):
            try:
                with self._root.directory(parents) as directory:
                    yield directory, leaf
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"{verb} {name}: no such object") from None

    def _open_top(self, parts: builtins.list[str]) -> int | None:
        """Open the directory that a listing begins at; None when there is none."""
        try:
            with self._root.directory(parts) as directory:
                return os.open(".", READ_DIRECTORY, dir_fd=directory)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _sweep_daily(self, path: str, directory: int) -> None:
        """Remove what killed writers left in a directory, unless this is the first object that is written.

        To list 20,000 segments takes 16 ms, and a cold push stores but one: whoever stores more looks, once a day.
        """
        now, last = clock.monotonic(), self._swept.get(path)
        if self._has_written and (last is None or now - last > _ABANDONED_AFTER.total_seconds()):
            self._swept[path] = now
            _sweep(directory)
        self._has_written = True


def _split(name: str) -> tuple[list[str], str]:
    *parents, leaf = require_name(name).split("/")
    return parents, leaf


def _require_regular(verb: str, name: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise refused_link(name)
    if not stat.S_ISREG(found.st_mode):
        raise NotFoundError(f"{verb} {name}: not a regular file")


def _is_taken(name: str, directory: int) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return True
    return False


@contextmanager
def _temporary_file(directory: int) -> Iterator[tuple[str, int]]:
    """Give a new file, name and descriptor; whatever happens, the name is gone afterwards."""
    name = f"{_TEMPORARY_SIGN}{os.urandom(12).hex()}"
    descriptor = os.open(name, _CREATE, _FILE_MODE, dir_fd=directory)
    try:
        give_to_owner_of(directory, descriptor)
        yield name, descriptor
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


def _publish_new(temporary: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Give a file its name, atomically, unless the name is taken: then raise FileExistsError."""
    try:
        os.link(temporary, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)
    except FileExistsError:
        # A network file system may repeat a request of which only the answer was lost, and then says "exists":
        # link(2), BUGS. The inode tells.
        if not _is_same_file(temporary, name, src_dir_fd):
            raise
    except OSError as error:
        from holdfast.storage.renaming import has_no_hard_links, rename_to_new

        if not has_no_hard_links(error):
            raise
        rename_to_new(temporary, name, src_dir_fd)


def _is_same_file(one: str, other: str, directory: int) -> bool:
    first, second = (os.stat(name, dir_fd=directory, follow_symlinks=False) for name in (one, other))
    return os.path.samestat(first, second)


def _read_fully(name: str, descriptor: int, start: int, count: int) -> bytes:
    data = os.pread(descriptor, count, start)
    if len(data) == count:
        return data
    parts = [data]
    done = len(data)
    while done < count:  # one read moves 2 GiB at most: read(2)
        part = os.pread(descriptor, count - done, start + done)
        if not part:
            raise StorageError(f"get {name}: the file ends after {start + done} bytes, while it is read")
        parts.append(part)
        done += len(part)
    return b"".join(parts)


def _sweep(directory: int) -> None:
    oldest_kept = (clock.now() - _ABANDONED_AFTER).timestamp()
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
