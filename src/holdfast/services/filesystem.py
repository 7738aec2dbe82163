"""Scanning a tree of files into entries: names as bytes, and all that is needed to put them back as they were."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from holdfast.repository.manifest import Entry, EntryKind, storable_time
from holdfast.repository.sources import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFSOCK: EntryKind.SOCKET,
}
_NONE: dict[bytes, bytes] = {}
_NO_XATTRS = {errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.EACCES, errno.EPERM}


class ScanRules(Protocol):
    """What a kind of service knows of its tree. Paths are relative to the root."""

    def left_out(self, directory: bytes, names: list[bytes]) -> frozenset[bytes]:
        """Return which names of a directory are not captured."""
        ...

    def is_entered(self, link: bytes) -> bool:
        """Return whether a symbolic link to a directory is entered (its own entry stays a link)."""
        ...

    def is_replaced_by_target(self, link: bytes) -> bool:
        """Return whether a symbolic link is recorded as the directory or file that it leads to."""
        ...


def scan_tree(root: bytes, rules: ScanRules, unreadable: list[Unreadable]) -> Iterator[tuple[Entry, bytes]]:
    """Yield (entry, absolute path) for all that is below ``root``, parents before children, in no order beyond.

    What vanishes during the scan is passed over; what may not be looked into is added to ``unreadable``. A file with
    several names is yielded once as FILE and then as HARD_LINK to the path seen first. Devices are passed over: no
    service keeps its data in one.
    """
    first_names: dict[tuple[int, int], bytes] = {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        for path, absolute, status in _list(root, directory, rules, unreadable):
            try:
                entry = make_entry(path, absolute, status)
            except FileNotFoundError:
                continue
            if entry is None:
                continue
            if entry.kind is EntryKind.DIRECTORY or _is_entered(entry, absolute, rules):
                pending.append(path)
            yield _as_hard_link(entry, status, first_names), absolute


def make_entry(path: bytes, absolute: bytes, status: os.stat_result) -> Entry | None:
    """Return the entry of one path, None for a device. ``path`` is the name it gets in the snapshot."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    mode, uid, gid = _shared(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return Entry(
        path=path,
        kind=kind,
        mode=mode,
        uid=uid,
        gid=gid,
        user=_user_name(uid),
        group=_group_name(gid),
        mtime_ns=storable_time(status.st_mtime_ns),
        ctime_ns=storable_time(status.st_ctime_ns),
        inode=status.st_ino,
        size=status.st_size if kind is EntryKind.FILE else 0,
        link=os.readlink(absolute) if kind is EntryKind.SYMLINK else b"",
        xattrs=_xattrs(absolute),
    )


def _list(
    root: bytes, directory: bytes, rules: ScanRules, unreadable: list[Unreadable]
) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    place = os.path.join(root, directory)
    try:
        names = os.listdir(place)  # what scandir gives keeps a status each, for all its time
    except (FileNotFoundError, NotADirectoryError):
        return  # dropped since its parent was listed
    except OSError as error:
        unreadable.append(Unreadable(directory, os.strerror(error.errno or 0)))
        return
    prefix = directory + b"/" if directory else b""
    left_out = rules.left_out(directory, names)
    for name in names:
        if name in left_out:
            continue
        path, absolute = prefix + name, os.path.join(place, name)
        try:
            found, status = _look_at(path, absolute, rules)
        except OSError as error:
            is_gone = isinstance(error, FileNotFoundError) and not os.path.islink(absolute)
            if not is_gone:  # a link that leads nowhere is not: somebody's disk may be
                unreadable.append(Unreadable(path, error.strerror or os.strerror(error.errno or 0)))
            continue
        yield path, found, status


def _look_at(path: bytes, absolute: bytes, rules: ScanRules) -> tuple[bytes, os.stat_result]:
    """Return (where it is, its status), of what a link leads to where that is to be in its place."""
    status = os.lstat(absolute)
    if stat.S_ISLNK(status.st_mode) and rules.is_replaced_by_target(path):
        place = os.path.realpath(absolute, strict=True)
        if not _leads_back(absolute, place):
            return place, _of_trusted_link(status, os.lstat(place))
    return absolute, status


def _of_trusted_link(link: os.stat_result, target: os.stat_result) -> os.stat_result:
    """Return the target's status. PermissionError where root would read for a link's owner what is another user's.

    Else who may only write links would have root put the content into a backup, and a restore make it his.
    """
    if link.st_uid not in {0, os.geteuid(), target.st_uid}:
        raise PermissionError(errno.EPERM, "it leads to what belongs to another user than the link")
    return target


def _leads_back(link: bytes, place: bytes) -> bool:
    """Whether a link leads to a directory that it lies in itself: whoever entered it would never come to an end."""
    home = os.path.realpath(os.path.dirname(link))
    return os.path.commonpath([home, place]) == place


def _is_entered(entry: Entry, absolute: bytes, rules: ScanRules) -> bool:
    return entry.kind is EntryKind.SYMLINK and rules.is_entered(entry.path) and os.path.isdir(absolute)


def _as_hard_link(entry: Entry, status: os.stat_result, first_names: dict[tuple[int, int], bytes]) -> Entry:
    if entry.kind is not EntryKind.FILE or status.st_nlink < 2:
        return entry
    first = first_names.setdefault((status.st_dev, status.st_ino), entry.path)
    if first == entry.path:
        return entry
    import msgspec

    return msgspec.structs.replace(entry, kind=EntryKind.HARD_LINK, link=first, size=0)


def _xattrs(absolute: bytes) -> dict[bytes, bytes]:
    """Return extended attributes (POSIX ACLs are among them); none where the file system has none to give."""
    try:
        names = os.listxattr(absolute, follow_symlinks=False)
        if not names:
            return _NONE
        return {os.fsencode(name): os.getxattr(absolute, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return _NONE
        raise


@lru_cache(maxsize=1024)
def _shared(*numbers: int) -> tuple[int, ...]:
    """Return numbers that are alike in most entries as the same objects each time: a tree may have a million files."""
    return numbers


@lru_cache(maxsize=1024)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
