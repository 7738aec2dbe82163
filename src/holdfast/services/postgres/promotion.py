"""Recovery of a restored cluster from the WAL that its snapshot carries, ended on a timeline of its own.

A plain start would go on writing the timeline of the cluster that it came from: two clusters with one history. Recovery
as from an archive always ends on a new timeline (``StartupXLOG``, ``findNewestTimeLine`` in ``src/backend/access/
transam``); the archive here is one that has nothing, so everything comes from ``pg_wal``.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.postgres.account import server_account
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.shared_memory import modest_settings
from holdfast.services.postgres.recovery.signals import Signal, put_signal
from holdfast.services.postgres.workers import WITHOUT_WORKERS, may_have_workers, wait_until_promoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

_STOP_TIMEOUT_S = 3600.0
_SETTINGS = {
    "archive_mode": "off",
    "restore_command": "false",
    "recovery_target_timeline": "current",
    "recovery_target_action": "promote",
    "hot_standby": "off",  # nobody asks it anything before
    "synchronous_standby_names": "",  # none follows it, and what is committed in it would wait for ever
    "autovacuum": "off",
    "huge_pages": "off",  # the live server beside it may hold all there are
}


def place_histories(data_directory: Path, known: Iterable[Path]) -> None:
    """Put the history files of clusters of the same origin into ``pg_wal``, before recovery.

    A new timeline gets the first number above the present one of which there is no such file (``findNewestTimeLine``).
    """
    account = server_account(data_directory)
    for directory in known:
        for history in sorted((directory / "pg_wal").glob("*.history")):
            copy = data_directory / "pg_wal" / history.name
            if not copy.exists():
                shutil.copyfile(history, copy)
                account.take_over(copy)


@contextmanager
def promoted_alone(binaries: Binaries, data_directory: Path) -> Iterator[LocalCluster]:
    """Start a restored cluster on a private socket, and yield it when it is promoted; it is stopped in the end."""
    put_signal(data_directory, Signal.END)
    workers = WITHOUT_WORKERS if may_have_workers(binaries, data_directory) else {}
    settings = {**modest_settings(binaries, data_directory), **_SETTINGS, **workers}
    cluster = LocalCluster(binaries, data_directory, settings=settings)
    cluster.launch()
    try:
        wait_until_promoted(cluster)
        yield cluster
        cluster.stop(timeout_s=_STOP_TIMEOUT_S)
    finally:
        cluster.close()
