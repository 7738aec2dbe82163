"""A directory for a cluster that is thrown away: removed whatever happens, and if we were killed, by the next one.

It is below ``TMPDIR``, else ``/var/tmp``, which is on a disk where ``/tmp`` may be memory. A lock tells those that are
in use from those of a run that was killed, whose server may be running still: it is ended first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import UsageError, reason_of
from holdfast.restore.orphans import end_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "holdfast-part-"
_YOUNG_S = 60
_REACHABLE = 0o711
"""The server's account passes through, nobody else learns what is in it; the cluster itself is its owner's alone."""


def throw_away_parent() -> Path:
    """Return where directories to throw away are made."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - a directory of our own is made in it


def new_throw_away_path() -> Path:
    """Return a path that nothing has yet, to plan with; UsageError where a server's account could not get to it."""
    parent = throw_away_parent()
    if os.geteuid() == 0:  # the server will not run as root
        closed = [
            each for each in (parent, *parent.parents) if each.exists() and not each.stat().st_mode & stat.S_IXOTH
        ]
        if closed:
            raise UsageError(
                f"a server that is not root's cannot get into {closed[0]}",
                hint="name a directory that every account may enter with the variable TMPDIR",
            )
    return parent / f"{_PREFIX}{secrets.token_hex(8)}"


@contextmanager
def throw_away_directory(directory: Path) -> Iterator[None]:
    """Make a directory, and remove it with all that is in it when the block ends, however it ends."""
    try:
        _remove_forgotten(directory.parent)
        directory.mkdir(mode=_REACHABLE)
    except OSError as error:
        raise UsageError(
            f"cannot make {directory}: {reason_of(error)}", hint="name a directory on a disk with the variable TMPDIR"
        ) from error
    try:
        with _locked(directory):
            directory.chmod(_REACHABLE)
            yield
    finally:
        _remove(directory)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory; BlockingIOError when somebody does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_forgotten(parent: Path) -> None:
    """Remove what runs that were killed left: directories of ours that nobody holds."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = directory.lstat()
            is_ours = status.st_uid == os.geteuid() and directory.is_dir() and not directory.is_symlink()
            if is_ours and clock.now().timestamp() - status.st_mtime > _YOUNG_S:
                with _locked(directory):
                    end_servers(directory)
                    shutil.rmtree(directory)


def _remove(directory: Path) -> None:
    """Remove a directory, also one that a server is just leaving: it may remove files at the same time."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)
