"""The storage in a directory, on a local disk or a mounted one.

An object is a file whose path is its name, published whole (``storage.publishing``). What killed writers left is
removed, once it is a day old, by the next backup or resident process that writes into its directory.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import AlreadyExistsError, NotFoundError, StorageError
from holdfast.storage.base import ObjectInfo, require_name
from holdfast.storage.beneath import READ_DIRECTORY, Root, refused_link, sync_directory
from holdfast.storage.listing import walk
from holdfast.storage.oserrors import translated
from holdfast.storage.publishing import ABANDONED_AFTER, publish_new, publish_over, sweep
from holdfast.storage.ranges import resolve_range

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer

# O_NONBLOCK: opening a FIFO that somebody put there must not hang. It changes nothing for regular files.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
        publish = publish_new if must_not_exist else publish_over
        with translated(f"put {name}"), self._root.made_directory(parents) as directory:
            if must_not_exist and _is_taken(leaf, directory):
                raise AlreadyExistsError(f"put {name}: the object is already there")
            self._sweep_daily("/".join(parents), directory)
            publish(leaf, memoryview(data).cast("B"), directory)

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
        if self._has_written and (last is None or now - last > ABANDONED_AFTER.total_seconds()):
            self._swept[path] = now
            sweep(directory)
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
