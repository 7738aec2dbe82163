"""Walking a directory tree in the order of the objects' full names, as a stream."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import StorageError
from holdfast.storage.base import ObjectInfo, is_name
from holdfast.storage.beneath import READ_DIRECTORY, refused_link

if TYPE_CHECKING:
    from collections.abc import Iterator

_DESCEND = READ_DIRECTORY | os.O_NOFOLLOW


def walk(directory: int, beginning: str, after: str) -> Iterator[ObjectInfo]:
    """Yield every object beneath a directory, whose names start with ``beginning``; closes the descriptor.

    Of these only such that come after ``after``: the others are not even looked at.

    Only the names of one directory a level are held at once. What no object can be called (temporary files,
    ``lost+found``) is passed over. A symbolic link raises OSError: if it were passed over, what is behind it would
    seem not to exist.
    """
    try:
        for key in _sorted_keys(directory, beginning, after):
            if key.endswith("/"):
                yield from walk(_descend(key[:-1], directory, beginning), beginning + key, after)
            else:
                yield from _info(key, directory, beginning)
    finally:
        os.close(directory)


def _sorted_keys(directory: int, beginning: str, after: str) -> list[str]:
    """Return names in the order of the full names beneath them: "a-b" comes before "a/c", though "a" before "a-b"."""
    with os.scandir(directory) as entries:
        known = (entry for entry in entries if _may_follow(f"{beginning}{entry.name}", after) and is_name(entry.name))
        keys = [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in known]
    return sorted(key for key in keys if f"{beginning}{key}" > after or key.endswith("/"))


def _may_follow(path: str, after: str) -> bool:
    """Whether what is called so, or lies beneath it, may come after ``after``."""
    return path > after or after.startswith(path)


def _descend(name: str, directory: int, beginning: str) -> int:
    try:
        return os.open(name, _DESCEND, dir_fd=directory)
    except FileNotFoundError:
        # Holdfast never removes a directory, so somebody else is at work here: what is left may not be all.
        raise StorageError(
            f"list {beginning}{name}: the directory vanished while it was listed",
            hint="see who else works in the repository's directory, then try again",
        ) from None


def _info(name: str, directory: int, beginning: str) -> Iterator[ObjectInfo]:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return  # deleted since
    if stat.S_ISLNK(found.st_mode):
        raise refused_link(f"{beginning}{name}")
    if stat.S_ISREG(found.st_mode):
        yield ObjectInfo(f"{beginning}{name}", found.st_size, clock.nearest_instant(found.st_mtime))
