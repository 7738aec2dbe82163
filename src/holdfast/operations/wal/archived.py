"""What a repository says of a service's archive to somebody who waits for it in front of a screen.

A request that hangs is given up within seconds, where a backup would wait for minutes: that the repository does not
answer is what such a person must be told.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import HoldfastError, NoRepositoryError, StorageError
from holdfast.operations.left_timelines import timelines_left
from holdfast.operations.wiring import make_cache, make_unlock, storage_options
from holdfast.postgres.timeline import Timeline, TimelineHistory, parse_history
from holdfast.repository.opening import open_repository
from holdfast.services.postgres.facts import from_facts
from holdfast.services.postgres.points import restorable_points
from holdfast.storage.url import open_storage
from holdfast.wal.archive import WalArchive
from holdfast.wal.coverage import survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.config.models import Stack
    from holdfast.config.repositories import RepositoryConfig
    from holdfast.errors import DamageError
    from holdfast.postgres.archiving import ArchivingFacts
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.settings import WalSettings

_ANSWER_S, _PATIENCE_S = 5.0, 2.0
"""How long one request may take, and how long after the first failure it is tried again."""

Away = StorageError | NoRepositoryError
"""Why a repository says nothing; a disk that is not mounted looks as if there were none."""


@dataclass(frozen=True, slots=True)
class KnownCluster:
    """What is known of a service's cluster without its repository."""

    service: str
    server: ArchivingFacts | None
    settings: WalSettings | None
    data_directory: str | None


@dataclass(frozen=True, slots=True)
class Archived:
    """What a repository says of a service; ``error`` is why it says nothing."""

    system_identifier: str | None
    segment_size: int
    snapshots: tuple[Snapshot, ...] = ()
    damages: tuple[DamageError, ...] = ()
    coverage: Coverage | None = None
    error: Away | None = None


def open_soon(config: RepositoryConfig) -> Repository | Away:
    """Open a repository, and be told soon of one that does not answer: somebody waits in front of the screen."""
    patient = storage_options(config)
    options = msgspec.structs.replace(
        patient,
        request_timeout_s=min(patient.request_timeout_s, _ANSWER_S),
        retry_deadline_s=min(patient.retry_deadline_s, _PATIENCE_S),
    )
    try:
        return open_repository(open_storage(config.url, options), make_unlock(config), make_cache)
    except (StorageError, NoRepositoryError) as error:
        return error


def ask_repository(stack: Stack, repository: Repository | Away, cluster: KnownCluster) -> Archived:
    """Return what a repository says; why it does not, where that comes out now or did before."""
    if isinstance(repository, Away):
        return Archived(*_identity(cluster, ()), error=repository)
    try:
        found = repository.survey_snapshots().of(stack.stack, cluster.service)
        identifier, segment_size = _identity(cluster, found.snapshots)
        coverage = None
        if identifier is not None:
            histories = _local_histories(cluster.data_directory)
            coverage = _survey(repository, identifier, segment_size, found.snapshots, histories)
            left = timelines_left(stack, cluster.service, repository, identifier, coverage.lineage)
            coverage = replace(coverage, left=left)
    except StorageError as error:
        return Archived(*_identity(cluster, ()), error=error)
    return Archived(identifier, segment_size, found.snapshots, found.damages, coverage)


def _identity(cluster: KnownCluster, snapshots: Sequence[Snapshot]) -> tuple[str | None, int]:
    """Return system identifier and segment size: as the server says, else as was set up, else as last backed up."""
    if cluster.server is not None:
        return cluster.server.system_identifier, cluster.server.segment_size
    if cluster.settings is not None:
        return cluster.settings.system_identifier, cluster.settings.segment_size
    if snapshots:
        facts = from_facts(snapshots[-1].facts, snapshots[-1].object_name)
        return facts.system_identifier, facts.wal_segment_size
    return None, 0


def _survey(
    repository: Repository,
    identifier: str,
    segment_size: int,
    snapshots: Iterable[Snapshot],
    histories: dict[Timeline, TimelineHistory],
) -> Coverage:
    archive = WalArchive(repository.storage, repository.keys, identifier)
    return survey(archive, restorable_points(snapshots, identifier), segment_size, histories)


def _local_histories(data_directory: str | None) -> dict[Timeline, TimelineHistory]:
    """Return the histories in ``pg_wal``, as far as they can be read: the archive may lack the newest one."""
    found: dict[Timeline, TimelineHistory] = {}
    if data_directory is not None:
        for path in Path(data_directory, "pg_wal").glob("????????.history"):
            with suppress(OSError, ValueError, HoldfastError):
                timeline = Timeline.parse_hex(path.name[:8])
                found[timeline] = parse_history(timeline, path.read_text(encoding="utf-8"))
    return found
