"""How a service's archive stands: one survey of it, held against what the server and the spool say.

The server is asked first: what it counted as archived before the archive was listed must be in the listing. A server
that is down is part of the answer, not a failure of it; and so is a repository that does not answer within seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.config.choose import choose_repository, choose_service
from holdfast.errors import ConfigError, DamageError, HoldfastError, ServerError
from holdfast.operations.wal.archived import Away, KnownCluster, ask_repository, open_soon
from holdfast.operations.wal.compilation import settings_path, spool_directory
from holdfast.operations.wal.receive import slot_name
from holdfast.operations.wiring import connection_string
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.wal import queue, receive_state
from holdfast.wal.lag import Lag, measure_lag
from holdfast.wal.ready import status_directory, waiting_files
from holdfast.wal.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from holdfast.config.models import Stack
    from holdfast.postgres.archiving import ArchivingFacts
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.queue import PushState
    from holdfast.wal.receive_state import ReceiveState
    from holdfast.wal.settings import WalSettings


@dataclass(frozen=True, slots=True)
class Waiting:
    """Segments that the server wants archived, and since when the oldest of them waits."""

    names: frozenset[str]
    since: datetime | None

    @property
    def segments(self) -> int:
        """How many there are."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class WalStatus:
    """What is known of one service. ``snapshots`` are its own, oldest first; ``damages`` tells of those not opening.

    ``coverage`` is None where nothing tells which cluster it is. ``server`` is None where it does not answer, and
    ``server_error`` says why; ``repository_error`` does so for the repository, of which nothing is known then. ``push``
    and ``receive`` are what those last wrote into the spool. ``rival_end`` is where the archive's WAL of the server's
    timeline ends where the server itself has not written that far (``wal.rival``).
    """

    service: str
    snapshots: tuple[Snapshot, ...]
    damages: tuple[DamageError, ...]
    repository_error: Away | None
    system_identifier: str | None
    coverage: Coverage | None
    server: ArchivingFacts | None
    server_error: HoldfastError | None
    lag: Lag | None
    waiting: Waiting | None
    push: PushState | None
    receive: ReceiveState | None
    rival_end: Lsn | None = None


def wal_statuses(stack: Stack, services: Iterable[str], asked: str | None) -> Iterator[WalStatus]:
    """Yield how the archive of each service stands.

    Each repository is opened once: a passphrase costs half a second. One that does not answer is part of the answer,
    and is not asked again; raises what else keeps one from being read.
    """
    opened: dict[str, Repository | Away] = {}
    for service in services:
        name, config = choose_repository(stack, asked=asked, service=service)
        if name not in opened:
            opened[name] = open_soon(config)
        status = _wal_status(stack, service, opened[name])
        if status.repository_error is not None:
            opened[name] = status.repository_error
        yield status


def _wal_status(stack: Stack, service: str, repository: Repository | Away) -> WalStatus:
    """Return how the archive of a service stands, in a repository or without one that answers."""
    spool = spool_directory(stack, service)
    receive = receive_state.read_state(spool)
    server, server_error = _ask_server(stack, service)
    settings = _settings(stack, service)
    data_directory = _data_directory(stack, service, server, settings)
    waiting = _waiting(server, data_directory)  # before the survey: what waited then and is there now is no gap
    archived = ask_repository(stack, repository, KnownCluster(service, server, settings, data_directory))
    lag = _lag(archived.coverage, server, receive, waiting, archived.segment_size)
    return WalStatus(
        service=service,
        snapshots=archived.snapshots,
        damages=archived.damages,
        repository_error=archived.error,
        system_identifier=archived.system_identifier,
        coverage=archived.coverage,
        server=server,
        server_error=server_error,
        lag=lag,
        waiting=waiting,
        push=queue.read_state(str(spool)),
        receive=receive,
        rival_end=_rival_end(stack, service, server, lag),
    )


def _ask_server(stack: Stack, service: str) -> tuple[ArchivingFacts | None, HoldfastError | None]:
    from holdfast.postgres.archiving import ask_archiving

    try:
        conninfo = connection_string(choose_service(stack, service))
        return ask_archiving(conninfo, slot_name(stack, service)), None
    except ServerError as error:
        return None, error


def _rival_end(stack: Stack, service: str, server: ArchivingFacts | None, lag: Lag | None) -> Lsn | None:
    """Return where the archive ends beyond what the server has written of its timeline by now; None as it should be.

    The server was asked before the archive was listed, and may have gone on and archived since: it is asked again.
    """
    if server is None or server.is_standby or lag is None or lag.archived is None or lag.archived <= server.lsn:
        return None
    again, _ = _ask_server(stack, service)
    if again is None or again.is_standby or again.timeline != server.timeline:
        return None
    return lag.archived if again.lsn < lag.archived else None


def _settings(stack: Stack, service: str) -> WalSettings | None:
    try:
        return read_settings(str(settings_path(stack, service)))
    except ConfigError:  # archiving was not set up, or this account may not see how
        return None


def _data_directory(
    stack: Stack, service: str, server: ArchivingFacts | None, settings: WalSettings | None
) -> str | None:
    configured = choose_service(stack, service).data_directory
    if configured is not None:
        return str(configured)
    if server is not None:
        return server.data_directory
    return settings.data_directory if settings else None


def _waiting(server: ArchivingFacts | None, data_directory: str | None) -> Waiting | None:
    """Return what waits: as the server says, else as its data directory does."""
    if server is not None and server.waiting is not None:
        return Waiting(server.waiting, server.waiting_since)
    if data_directory is None:
        return None
    try:
        names = [name for name in waiting_files(data_directory) if not name.endswith((".history", ".backup"))]
        times = [os.stat(os.path.join(status_directory(data_directory), f"{name}.ready")).st_mtime for name in names]
    except (ServerError, OSError):  # it lies elsewhere, may not be seen from here, or changes right now
        return None
    return Waiting(frozenset(names), clock.nearest_instant(min(times)) if times else None)


def _lag(
    coverage: Coverage | None,
    server: ArchivingFacts | None,
    receive: ReceiveState | None,
    waiting: Waiting | None,
    segment_size: int,
) -> Lag | None:
    """Return the lag against the server, else against what it last told the receiver, else by what waits."""
    if coverage is None:
        return None
    now = clock.now()
    if server is not None:
        return measure_lag(coverage, server.timeline, server.lsn, now)
    if receive is not None and receive.server_lsn and receive.timeline:
        return measure_lag(coverage, Timeline(receive.timeline), Lsn.parse(receive.server_lsn), now)
    if waiting is not None:
        age_s = (now - waiting.since).total_seconds() if waiting.since else 0.0
        return Lag(waiting.segments * segment_size, waiting.segments, age_s)
    return None
