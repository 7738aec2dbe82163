"""Configuration that lies outside the data directory (Debian: in /etc), taken along for who rebuilds the server.

It goes below one directory of the snapshot, each file under its whole path, and comes back there: beside the data, and
not in effect. Whether an old server's settings suit a new machine is for its operator to decide.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.repository.names import shown
from holdfast.services.filesystem import make_entry
from holdfast.services.postgres.rules import CONFIGURATION_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.progress import Reporter
    from holdfast.repository.manifest import Entry


def scan_configuration(root: bytes, files: Iterable[str], reporter: Reporter) -> Iterator[tuple[Entry, bytes]]:
    """Yield (entry, absolute path) for configuration files outside ``root`` and the directories that hold them.

    A file that cannot be read is warned of: the cluster itself is whole without it.
    """
    outside = sorted(path for path in map(os.fsencode, files) if not _is_below(path, root))
    readable = [path for path in outside if os.access(path, os.R_OK)]
    for path in set(outside) - set(readable):
        reporter.warning(f"the configuration file {shown(path)} cannot be read, and is not in the snapshot")
    for directory in sorted({above for path in readable for above in _above(path)}):
        yield from _entry(directory)
    for path in readable:
        yield from _entry(path)


def _entry(absolute: bytes) -> Iterator[tuple[Entry, bytes]]:
    """Yield what a path leads to: links (as to a file under version control) are followed."""
    place = CONFIGURATION_DIRECTORY + absolute.rstrip(b"/")
    entry = make_entry(place, os.path.realpath(absolute), os.stat(absolute))
    if entry is not None:
        yield entry, os.path.realpath(absolute)


def _above(path: bytes) -> Iterator[bytes]:
    while path != b"/":
        path = os.path.dirname(path)
        yield path


def _is_below(path: bytes, root: bytes) -> bool:
    root = os.path.realpath(root)
    return os.path.commonpath([os.path.realpath(path), root]) == root
