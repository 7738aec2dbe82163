"""The tree of a copy: what is in the way of the snapshot's files, or not in the snapshot at all, is taken away.

Nothing is followed out of the directories that are restored: a link is removed as a link, and a file that has other
names (``cp -al``, ``pg_upgrade --link``) loses this one. Only directories that the service says may be links elsewhere
(``pg_wal``) are kept as such, and then cleared like the others. What lies behind another link goes with it, so it must
not be taken for being there.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.errors import UsageError
from holdfast.repository.manifest import EntryKind
from holdfast.restore.mounts import mount_points
from holdfast.wal.ownership import MARKER_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from holdfast.restore.plan import RestorePlan

_MADE_BY_THE_FILE_SYSTEM = "lost+found"


def linked_directories(plan: RestorePlan, may_be_links: Collection[bytes]) -> list[Path]:
    """Return the directories of the plan that are links in the copy, and may be: they lead to directories elsewhere."""
    roots = [Path(os.path.realpath(root)) for root in plan.layout.roots]
    return [
        path
        for entry, path in plan.directories
        if entry.path in may_be_links and path.is_symlink() and path.is_dir() and _is_apart(path.resolve(), roots)
    ]


def _is_apart(directory: Path, roots: Iterable[Path]) -> bool:
    """Whether a directory neither lies in one of the roots nor holds one: what is too much there would be removed."""
    return not any(directory.is_relative_to(root) or root.is_relative_to(directory) for root in roots)


def files_that_stay(plan: RestorePlan, may_be_links: Collection[bytes]) -> np.ndarray:
    """Return for each file of the plan whether all directories on its way stay; links among them are taken away."""
    kept = {*plan.layout.roots, *linked_directories(plan, may_be_links)}
    links = {path for _, path in plan.directories if path not in kept and path.is_symlink()}
    if not links:
        return np.ones(len(plan.files), dtype=bool)
    return np.array([links.isdisjoint(file.path.parents) for file in plan.files], dtype=bool)


def surplus(plan: RestorePlan, kept: Collection[Path], may_be_links: Collection[bytes]) -> list[Path]:
    """Return what the copy has and the snapshot has not: the highest of what goes together; ``kept`` stays.

    Raises UsageError where something is mounted in a directory that goes: it would be emptied.
    """
    others = {os.fspath(file.path) for file in plan.files}
    others.update(os.fspath(path) for path in (*kept, plan.layout.target / MARKER_NAME))
    others.update(os.fspath(path) for _, path in plan.links)
    directories = {os.fspath(path) for _, path in plan.directories}
    for root in plan.layout.roots:
        for place in (root, Path(os.path.realpath(root))):
            directories.update(os.fspath(path) for path in (place, *place.parents))
    tops = [*plan.layout.roots, *linked_directories(plan, may_be_links)]
    expected = _Expected(directories, others, mount_points())
    return [Path(path) for top in tops if top.is_dir() for path in _unexpected(os.fspath(top), expected)]


class _Expected(NamedTuple):
    """What may be in a copy: directories and other things of the snapshot, and what is mounted there."""

    directories: Collection[str]
    others: Collection[str]
    mounts: Collection[Path]

    def require_removable(self, directory: Path) -> None:
        """Raise UsageError where something is mounted on a directory or below it."""
        for mount in self.mounts:
            if mount.is_relative_to(directory):
                raise UsageError(
                    f"{mount} is a mount point in the way: the snapshot has no directory there",
                    hint="unmount it, then run the same command again",
                )


def _unexpected(directory: str, expected: _Expected) -> Iterator[str]:
    """Yield what is not expected below a directory; a link is not entered, what is mounted is left alone."""
    real = Path(os.path.realpath(directory))
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        is_directory = entry.is_dir(follow_symlinks=False)
        is_expected = entry.path in expected.directories or entry.path in expected.others
        if is_directory and entry.path in expected.directories:
            yield from _unexpected(entry.path, expected)
        elif not is_expected and (entry.name == _MADE_BY_THE_FILE_SYSTEM or real / entry.name in expected.mounts):
            continue
        else:
            if is_directory:
                expected.require_removable(real / entry.name)
            if not is_expected:
                yield entry.path


def remove(path: Path) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def clear_the_way(plan: RestorePlan, may_be_links: Collection[bytes]) -> None:
    """Remove what stands where the snapshot has something of another kind."""
    kept = set(linked_directories(plan, may_be_links))
    for _, path in sorted(plan.directories, key=lambda placed: len(placed[1].parts)):
        if path not in kept and path not in plan.layout.roots and _is_other(path, stat.S_IFDIR):
            path.unlink()
    for entry, path in plan.links:
        target = os.fsdecode(plan.layout.link(entry))
        is_right = entry.kind is EntryKind.SYMLINK and path.is_symlink() and os.readlink(path) == target
        if os.path.lexists(path) and not is_right:
            remove(path)
    for file in plan.files:
        if _is_other(file.path, stat.S_IFREG):
            remove(file.path)


def _is_other(path: Path, kind: int) -> bool:
    """Whether something is there that is not of this kind, or that is a file with other names."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_IFMT(status.st_mode) != kind or (kind == stat.S_IFREG and status.st_nlink > 1)
