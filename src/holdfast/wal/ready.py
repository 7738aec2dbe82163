"""Which files the server wants archived: the ``.ready`` files of ``pg_wal/archive_status``.

The server makes ``<file>.ready`` when a file is complete, and renames it to ``.done`` once ``archive_command`` has
succeeded (``src/backend/postmaster/pgarch.c``). They are only read here: renaming them is the server's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import ServerError, VerificationError, reason_of
from holdfast.postgres.segment import is_history_name
from holdfast.wal.names import WalFileKind, kind_of, timeline_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_READY = ".ready"
_ARCHIVED = frozenset({WalFileKind.SEGMENT, WalFileKind.HISTORY, WalFileKind.PARTIAL, WalFileKind.BACKUP})


def wal_directory(data_directory: str) -> str:
    """Return where a cluster's WAL is."""
    return os.path.join(data_directory, "pg_wal")


def status_directory(data_directory: str) -> str:
    """Return where the server says which files it wants archived."""
    return os.path.join(data_directory, "pg_wal", "archive_status")


def waiting_files(data_directory: str) -> list[str]:
    """Return the names of the files to archive, in the server's own order; ServerError when they cannot be listed."""
    try:
        with os.scandir(status_directory(data_directory)) as listing:
            names = [entry.name.removesuffix(_READY) for entry in listing if entry.name.endswith(_READY)]
    except OSError as error:
        raise ServerError(
            f"cannot see what waits in {status_directory(data_directory)}: {reason_of(error)}",
            hint="run as the owner of the cluster; after moving it, run 'holdfast wal setup' again",
        ) from error
    return in_order(name for name in names if is_archived(name))


def in_order(names: Iterable[str]) -> list[str]:
    """Return names as the server takes them: history files first, then by name (``ready_file_comparator``)."""
    return sorted(names, key=lambda name: (not is_history_name(name), name))


def is_written_after(name: str, other: str) -> bool:
    """Whether a server wrote one file of its WAL after another: a history is the first one of its timeline."""
    if timeline_of(name) != timeline_of(other):
        return timeline_of(name) > timeline_of(other)
    return not is_history_name(name) and (is_history_name(other) or name > other)


def is_archived(name: str) -> bool:
    """Whether a file of this name is one that servers archive."""
    try:
        return kind_of(name) in _ARCHIVED
    except VerificationError:
        return False
