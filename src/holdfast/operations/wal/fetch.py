"""Fetch one WAL file from a service's archive: what ``restore_command`` runs, and what a person may.

In the data directory of a cluster, the file comes from a process that stays and fetches ahead (``supplier``). Anywhere
else it is a person who asks: the file is fetched, proven and written, and nothing stays behind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError, HoldfastError, KeyRefusedError, StorageError, UsageError, reason_of
from holdfast.operations.wal.compilation import settings_path
from holdfast.operations.wiring import open_stack_repository
from holdfast.postgres.control import CONTROL_PATH, read_control_file
from holdfast.services.postgres.facts import from_facts
from holdfast.wal.archive import WalArchive
from holdfast.wal.fetch import Fetched, WalSource
from holdfast.wal.route import Route
from holdfast.wal.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.postgres.timeline import Timeline
    from holdfast.repository.repository import Repository
    from holdfast.storage.base import Buffer


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """The file ``name`` of a service's archive is wanted at ``path``; ``idle_s``: how long a supplier stays unasked."""

    service: str
    name: str
    path: Path
    repository: str | None
    idle_s: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """Whose WAL is wanted: its system identifier, its segment size in bytes, and its timeline, where it is known."""

    system_identifier: str
    segment_size: int
    timeline: Timeline | None = None


def cluster_at(path: Path) -> Cluster | None:
    """Return the cluster whose ``pg_wal`` (or other directory) a file is wanted in; None where there is no cluster."""
    data_directory = path.parent.parent
    if not (data_directory / os.fsdecode(CONTROL_PATH)).exists():
        return None
    control = read_control_file(data_directory)
    return Cluster(str(control.system_identifier), control.wal_segment_size, control.timeline)


def open_readable(stack: Stack, request: FetchRequest) -> Repository:
    """Open the repository of the service; KeyRefusedError unless WAL can be read with its key."""
    repository = open_stack_repository(stack, request.repository, request.service)
    if not repository.keys.can_read_data:
        raise KeyRefusedError(
            "reading WAL needs an owner's key, and this one only writes",
            hint="recover with a stack file that names the passphrase or the recovery identity",
        )
    return repository


def fetch_once(stack: Stack, request: FetchRequest) -> Fetched:
    """Fetch a file for a person; it is at ``request.path`` when the verdict is READY or PART."""
    repository = open_readable(stack, request)
    cluster = cluster_of(repository, stack, request.service)
    archive = WalArchive(repository.storage, repository.keys, cluster.system_identifier)
    source = WalSource(archive, Route(None, cluster.segment_size))
    return source.fetch(request.name, lambda fetched: _write(request.path, fetched.content))


def cluster_of(repository: Repository, stack: Stack, service: str) -> Cluster:
    """Return the cluster that a service is: as its newest snapshot says, else as archiving was set up."""
    snapshots = repository.survey_snapshots().of(stack.stack, service).snapshots
    if snapshots:
        facts = from_facts(snapshots[-1].facts, snapshots[-1].object_name)
        return Cluster(facts.system_identifier, facts.wal_segment_size)
    try:
        settings = read_settings(str(settings_path(stack, service)))
    except ConfigError:
        raise UsageError(
            f"it is not known which cluster {service} is: it has no snapshot, and its archiving was not set up here",
            hint="run this in the cluster's data directory, as its restore_command",
        ) from None
    return Cluster(settings.system_identifier, settings.segment_size)


def _write(path: Path, content: Iterable[Buffer]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.writelines(content)
        temporary.replace(path)
    except HoldfastError:
        temporary.unlink()
        raise
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(f"cannot write {path}: {reason_of(error)}") from error
