"""Keeping the workers of preloaded libraries from their work in a cluster that is not in service yet.

A library in ``shared_preload_libraries`` may be needed to read the catalog, or to replay its own WAL records; but its
background workers begin as soon as a server is out of recovery: pg_cron would run its jobs, and others call out or drop
what is too old, beside the server in service, and in a state that is perhaps thrown away. So what we promote has the
libraries, and no room for workers: those that are registered then are refused (``RegisterBackgroundWorker`` in
``src/backend/postmaster/bgworker.c``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.configured import configured
from holdfast.postgres.local import LocalCluster
from holdfast.services.postgres.recovery.settings import WHEN_CONSISTENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries
    from holdfast.services.postgres.recovery.settings import RecoverySettings

_LIBRARIES = "shared_preload_libraries"
_POLL_S = 0.05
_SHOWN_LINES = 15

WITHOUT_WORKERS = {
    "max_worker_processes": "0",
    "hot_standby": "off",  # else recovery wants as many as its origin had (CheckRequiredParameterValues in xlog.c)
}


def may_have_workers(binaries: Binaries, data_directory: Path) -> bool:
    """Whether a server of the cluster would load a library at its start."""
    return bool(configured(binaries, data_directory, _LIBRARIES))


def promoted_without_workers(
    binaries: Binaries, data_directory: Path, settings: RecoverySettings, own: Mapping[str, str]
) -> LocalCluster:
    """Start a cluster that rested in recovery, with ``recovery.signal`` in it, and return it promoted at that place.

    That is where its control file says that it is consistent; the WAL up to there is in its ``pg_wal``. ``own`` are
    settings of this machine.
    """
    ending = replace(settings, stop=WHEN_CONSISTENT, restore_command="false")
    try:
        return _promoted(binaries, data_directory, ending, own)
    except ServerError:  # as where not one record remains to be replayed: then nothing halts there
        return _promoted(binaries, data_directory, replace(ending, stop=None), own)


def _promoted(
    binaries: Binaries, data_directory: Path, ending: RecoverySettings, own: Mapping[str, str]
) -> LocalCluster:
    settings = {**ending.for_major(binaries.major), **own, **WITHOUT_WORKERS, "recovery_target_action": "promote"}
    cluster = LocalCluster(binaries, data_directory, settings=settings)
    cluster.launch()
    try:
        wait_until_promoted(cluster)
    except BaseException:
        cluster.close()
        raise
    return cluster


def wait_until_promoted(cluster: LocalCluster) -> None:
    """Wait until a server that is no hot standby has ended recovery; ServerError when it has ended instead."""
    while not cluster.has_recovered:
        if not cluster.is_running:
            raise ServerError(
                f"the server in {cluster.data_directory} ended while it recovered",
                hint="the lines above are the end of its log",
                details=tuple(cluster.log().splitlines()[-_SHOWN_LINES:]),
            )
        clock.sleep(_POLL_S)
