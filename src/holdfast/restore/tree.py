"""The tree of a restore: directories, links, files of the right size; owners, modes and times at the end."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from functools import lru_cache
from typing import TYPE_CHECKING

from holdfast.repository.manifest import Entry, EntryKind

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.restore.plan import PlannedFile, RestorePlan

UNFINISHED_SUFFIX = ".holdfast-unfinished"
_LENT_RIGHTS = stat.S_ISUID | stat.S_ISGID
_CAPABILITIES = b"security.capability"
_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o700, 0o600


def under_written_names(plan: RestorePlan) -> tuple[PlannedFile, ...]:
    """Return the files under the names that they are written to: the last one gets its own only at the very end."""
    last = plan.layout.last
    return tuple(file._replace(path=unfinished(file.path)) if file.entry.path == last else file for file in plan.files)


def path_of_last(plan: RestorePlan) -> Path:
    """Return where a plan puts the file that gets its name at the very end."""
    return next(file.path for file in plan.files if file.entry.path == plan.layout.last)


def unfinished(path: Path) -> Path:
    """Return the name of a file that may not be found under its own yet."""
    return path.with_name(path.name + UNFINISHED_SUFFIX)


def make_tree(plan: RestorePlan) -> None:
    """Make directories and links; what is there already (a resumed restore) stays. Files come as they are written."""
    for root in plan.layout.roots:
        root.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    for _, path in sorted(plan.directories, key=lambda placed: len(placed[1].parts)):
        path.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    for entry, path in plan.links:
        if entry.kind is EntryKind.SYMLINK and not path.is_symlink():
            path.symlink_to(os.fsdecode(plan.layout.link(entry)))


def finish_tree(plan: RestorePlan) -> None:
    """Link hard links, and give links and directories their owners, modes and times (deepest first)."""
    for entry, path in plan.links:
        if entry.kind is EntryKind.HARD_LINK and not path.exists():
            os.link(plan.layout.target / os.fsdecode(entry.link), path)
        elif entry.kind is EntryKind.SYMLINK:
            _own(path, entry)
    for entry, path in sorted(plan.directories, key=lambda placed: -len(placed[1].parts)):
        finish_path(path, entry)
        if path == plan.layout.target:
            _finish_other_roots(plan, entry)


def finish_path(path: Path, entry: Entry) -> None:
    """Give a file or directory its owner, extended attributes, mode and times, in this order.

    Attributes come while the mode still lets us write; the mode of a file with an ACL is the same as the ACL's own.
    What would lend somebody's rights to who runs a file is not restored: no service's data needs it, and a host that
    is no longer ours may have stored it.
    """
    _own(path, entry)
    for name, value in entry.xattrs.items():
        if name != _CAPABILITIES:
            _set_attribute(path, name, value)
    os.chmod(path, entry.mode if entry.kind is EntryKind.DIRECTORY else entry.mode & ~_LENT_RIGHTS)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def is_finished(file: PlannedFile) -> bool:
    """Return whether a file that is there has its length, owner, mode and time, as ``finish_path`` gives them."""
    entry = file.entry
    try:
        status = os.lstat(file.path)
    except FileNotFoundError:
        return False
    found = (status.st_size, status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns)
    mode = stat.S_IFREG | entry.mode & ~_LENT_RIGHTS
    owner = _uid(entry.user, entry.uid), _gid(entry.group, entry.gid)
    return not entry.xattrs and found == (entry.size, *owner, mode, entry.mtime_ns)


def _finish_other_roots(plan: RestorePlan, target: Entry) -> None:
    """Give the directories of tablespaces, which no entry describes, the owner and mode of the target."""
    for root in plan.layout.roots:
        if root != plan.layout.target:
            _own(root, target)
            os.chmod(root, target.mode)


def open_to_write(file: PlannedFile) -> int:
    """Return a descriptor of a file that is there and has its size; what it holds already stays."""
    descriptor = _open_to_fill(file.path)
    try:
        if os.fstat(descriptor).st_size != file.entry.size:
            os.ftruncate(descriptor, file.entry.size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_to_fill(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, _PRIVATE_FILE)
    except PermissionError:
        if not path.is_file():
            raise
        os.chmod(path, _PRIVATE_FILE)  # a broken-off restore had finished it already, with a mode that forbids writing
        return os.open(path, flags, _PRIVATE_FILE)


def _set_attribute(path: Path, name: bytes, value: bytes) -> None:
    """Set an extended attribute where we may (security.* and trusted.* are root's alone) and where there are any."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EACCES, errno.ENOTSUP}:
            raise


def _own(path: Path, entry: Entry) -> None:
    """Give a path its owner: by name where this machine knows it, else by number. Without the right to, it is ours."""
    uid, gid = _uid(entry.user, entry.uid), _gid(entry.group, entry.gid)
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise


@lru_cache(maxsize=1024)
def _uid(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # a name with a zero byte or of no encoding is nobody's
        return number


@lru_cache(maxsize=1024)
def _gid(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return number
