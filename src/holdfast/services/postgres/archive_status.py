"""Telling a promoted cluster what of its WAL is still to be archived: it was promoted with archiving off.

A server marks what is to be archived only while it archives (``XLogArchivingActive`` in ``src/include/access/xlog.h``):
the history file of the new timeline would never reach the archive, nor what was written before the first ordinary
start. What is left of the old timeline came from the archive or a snapshot, and its last segment may be shorter there;
a server offers such a file when it is about to recycle it (``XLogArchiveCheckDone``), and would be refused for ever.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.postgres.account import server_account
from holdfast.postgres.segment import history_name, is_history_name, is_segment_name, parse_segment_name, segment_at

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.account import Account
    from holdfast.postgres.control import ControlFile

_READY, _DONE = ".ready", ".done"


def queue_own_wal(data_directory: Path, control: ControlFile) -> None:
    """Mark what the cluster has written itself as to be archived, and all other WAL in it as done.

    The cluster is stopped, or does not archive yet. What it completes meanwhile is marked by the server itself, when it
    is about to recycle it.
    """
    wal = data_directory / "pg_wal"
    account = server_account(data_directory)
    for name in os.listdir(wal):
        mark = _mark(name, control)
        if mark is not None:
            _set(wal / "archive_status", name, mark, account)


def _mark(name: str, control: ControlFile) -> str | None:
    """Return how a file is to be marked; None for the segment that is being written, those made ahead, and the rest."""
    if is_history_name(name):
        return _READY if name == history_name(control.timeline) else _DONE
    if not is_segment_name(name):
        return None
    segment = parse_segment_name(name, control.wal_segment_size)
    if segment.timeline != control.timeline:
        return _DONE
    present = segment_at(control.checkpoint, control.timeline, control.wal_segment_size)
    return _READY if segment.start < present.start else None


def _set(status: Path, name: str, mark: str, account: Account) -> None:
    for other in {_READY, _DONE} - {mark}:
        (status / (name + other)).unlink(missing_ok=True)
    path = status / (name + mark)
    path.touch(mode=0o600)
    account.take_over(path)
