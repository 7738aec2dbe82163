"""What the machine must offer, whatever the stack: a true clock, enough open files, a place for the cache."""

from __future__ import annotations

import resource
import tempfile
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, reason_of
from holdfast.operations.doctor.finding import Finding, failed, fine, weak
from holdfast.repository.cache import default_cache_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN_FILES_WANTED = 1024


def examine_machine() -> Iterator[Finding]:
    """Yield what was found on this machine."""
    yield _clock()
    yield _open_files()
    yield _cache()


def _clock() -> Finding:
    try:
        clock.require_plausible()
    except HoldfastError as error:
        return failed("clock", error)
    return fine("clock", f"it is {clock.in_utc(clock.now())}")


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or limit >= _OPEN_FILES_WANTED:
        return fine("open files", f"the limit is {'none' if limit == resource.RLIM_INFINITY else limit}")
    return weak(
        "open files",
        f"only {limit} files may be open at once, which large backups and restores may reach",
        "ulimit -n 4096, or LimitNOFILE=4096 in the systemd unit",
    )


def _cache() -> Finding:
    root = default_cache_root()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return fine("cache", f"{root} can be written")
    except OSError as error:
        return weak(
            "cache",
            f"{root} cannot be written ({reason_of(error)}): each run fetches the index anew",
            "make it writable, or set XDG_CACHE_HOME to a directory that is",
        )
