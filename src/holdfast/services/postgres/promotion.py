"""Recovery of a restored cluster from the WAL that its snapshot carries, ended on a timeline of its own.

A plain start would go on writing the timeline of the cluster that it came from: two clusters with one history. Recovery
as from an archive always ends on a new timeline (``StartupXLOG``, ``findNewestTimeLine`` in ``src/backend/access/
transam``); the archive here is one that has nothing, so everything comes from ``pg_wal``.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.account import server_account
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import one_row
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.shared_memory import modest_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

_SIGNAL = "recovery.signal"
_START_TIMEOUT_S = 3600.0
_POLL_S = 0.05
_SETTINGS = {
    "archive_mode": "off",
    "restore_command": "false",
    "recovery_target_timeline": "current",
    "recovery_target_action": "promote",
    "hot_standby": "on",
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
def promoted_alone(binaries: Binaries, data_directory: Path, user: str) -> Iterator[LocalCluster]:
    """Start a restored cluster on a private socket, wait until it is promoted, and yield it; it is stopped in the end.

    ``user`` is a role that the cluster has.
    """
    account = server_account(data_directory)
    (data_directory / _SIGNAL).touch(mode=0o600)
    account.take_over(data_directory / _SIGNAL)
    settings = {**modest_settings(binaries, data_directory), **_SETTINGS}
    cluster = LocalCluster(binaries, data_directory, account=account, settings=settings)
    cluster.start(timeout_s=_START_TIMEOUT_S)
    try:
        _wait_for_promotion(cluster, user)
        yield cluster
        cluster.stop(timeout_s=_START_TIMEOUT_S)
    finally:
        cluster.close()


def _wait_for_promotion(cluster: LocalCluster, user: str) -> None:
    while True:
        if not cluster.is_running:
            raise ServerError(
                f"the server in {cluster.data_directory} ended while it recovered",
                hint="the lines above are the end of its log",
                details=tuple(cluster.log().splitlines()[-15:]),
            )
        with connect(cluster.conninfo(user=user)) as connection, translated("asking whether recovery has ended"):
            if not one_row(connection, "SELECT pg_is_in_recovery()")[0]:
                return
        clock.sleep(_POLL_S)
