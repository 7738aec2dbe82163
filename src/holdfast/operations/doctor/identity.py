"""Whether the server is the cluster that the last backup and the archive are of.

A connection that leads elsewhere, or a cluster that was made anew, is no error to a server: it answers. The next backup
would be the first of another cluster, and its WAL would be refused, which is better known before a restore is needed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.operations.doctor.finding import Finding, fine, weak
from holdfast.operations.wal.compilation import settings_path, spool_directory
from holdfast.wal.ownership import NotAdoptedError, require_adopted_if_visible
from holdfast.wal.receive_state import STATE_NAME, read_state
from holdfast.wal.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack
    from holdfast.repository.snapshot import Snapshot, SnapshotSurvey

_CORRECT = "correct 'connection' of this service if it leads to the wrong server"


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """What tells the cluster of a running server from others; ``data_directory`` None: not known here."""

    system_identifier: str
    major: int
    data_directory: str | None


def examine_identity(
    subject: str, stack: Stack, service: str, cluster: ClusterIdentity, survey: SnapshotSurvey
) -> Iterator[Finding]:
    """Yield what was found; nothing of a service that has neither a snapshot nor an archive."""
    own = survey.of(stack.stack, service).snapshots
    if own and own[-1].kind == stack.services[service].kind:
        yield _against_snapshot(subject, cluster, own[-1])
    yield from _against_archive(subject, stack, service, cluster)


def _against_snapshot(subject: str, cluster: ClusterIdentity, last: Snapshot) -> Finding:
    known = (last.facts.get("system_identifier"), last.facts.get("major"))
    if known == (cluster.system_identifier, cluster.major):
        return fine(subject, f"it is the cluster of the last snapshot, {last.short_id}")
    return weak(
        subject,
        f"this is another cluster than that of the last snapshot, {last.short_id}: PostgreSQL {cluster.major} with "
        f"system identifier {cluster.system_identifier}, and it was PostgreSQL {known[1]} with {known[0]}",
        f"{_CORRECT}; if it was upgraded or made anew, back it up now: nothing stored of the other brings it back",
    )


def _against_archive(subject: str, stack: Stack, service: str, cluster: ClusterIdentity) -> Iterator[Finding]:
    archived = False
    with suppress(HoldfastError):  # what is wrong with the settings is said with the rest of archiving
        settings = read_settings(str(settings_path(stack, service)))
        archived = True
        if settings.system_identifier != cluster.system_identifier:
            remedy = f"{_CORRECT}; if the cluster was upgraded or made anew, run 'holdfast wal setup {service}'"
            yield _other_archive(subject, "archive_command", settings.system_identifier, remedy)
    spool = spool_directory(stack, service)
    state = read_state(spool)
    if state is not None and state.system_identifier is not None:
        archived = True
        if state.system_identifier != cluster.system_identifier:
            remedy = f"{_CORRECT}; if the cluster was upgraded or made anew, remove {spool / STATE_NAME}"
            yield _other_archive(subject, "the receiver", state.system_identifier, remedy)
    if archived and cluster.data_directory is not None:
        yield from _adoption(subject, service, cluster.data_directory)


def _other_archive(subject: str, who: str, known: str, remedy: str) -> Finding:
    return weak(subject, f"{who} was set up for another cluster ({known}), and refuses the WAL of this one", remedy)


def _adoption(subject: str, service: str, data_directory: str) -> Iterator[Finding]:
    try:
        require_adopted_if_visible(data_directory)
    except NotAdoptedError as error:
        remedy = f"if it takes the place of its origin, promote it and run 'holdfast wal adopt {service}'"
        yield weak(subject, error.message, remedy)
    except HoldfastError as error:
        yield weak(subject, error.message, error.hint or _CORRECT)
