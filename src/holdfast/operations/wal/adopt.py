"""Let a restored cluster write into the archive of its origin: said on purpose, once, after proof that it may.

Two clusters with one system identifier are told apart by their timelines alone. So a restored cluster may take over
only when it runs on a timeline of which the archive holds nothing but this very cluster's own bytes (FAULTS 4, 37).
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.config.choose import choose_service
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, NotFoundError, ServerError, UsageError, reason_of
from holdfast.operations.wiring import connection_string, open_stack_repository
from holdfast.postgres.archiving import ask_archiving
from holdfast.postgres.belonging import is_data_directory_of, other_directory
from holdfast.postgres.control import read_control_file
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import parse_segment_name
from holdfast.postgres.server import Server
from holdfast.postgres.timeline import Timeline, first_history, parse_history
from holdfast.repository.walfile import content_digest
from holdfast.restore.marker import adopt_marker, read_marker
from holdfast.services.postgres.archive_status import queue_own_wal
from holdfast.services.postgres.facts import from_facts
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import WalFileKind
from holdfast.wal.reading import read_wal_file

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.postgres.archiving import ArchivingFacts
    from holdfast.postgres.timeline import TimelineHistory
    from holdfast.repository.keys import Keys
    from holdfast.restore.marker import RestoreMarker

_LEFT_BY_RESTORE = ("archive_mode", "max_logical_replication_workers")
_AUTO_CONF = "postgresql.auto.conf"
_OWN_TIMELINE = "give it a timeline of its own: restore it again, with --to latest"


@dataclass(frozen=True, slots=True)
class Adoption:
    """An adopted cluster. ``adopted``: when (ISO 8601, UTC); ``is_new``: just now.

    ``statements`` undo what the restore set in the cluster so that it would not archive.
    """

    data_directory: Path
    timeline: Timeline
    adopted: str
    is_new: bool
    statements: tuple[str, ...]


def adopt(stack: Stack, service: str, asked: str | None = None) -> Adoption:
    """Adopt the running cluster of a service; a second time changes nothing.

    Raises UsageError when it was not restored, or is not fit to take over; VerificationError where the archive holds
    WAL of its timeline from another life.
    """
    config = choose_service(stack, service)
    server = ask_archiving(connection_string(config), None)
    directory = config.data_directory or Path(server.data_directory)
    _require_its_directory(connection_string(config), directory)
    marker = read_marker(directory)
    if marker is None:
        raise UsageError(
            f"{directory} was not restored by holdfast: there is nothing to adopt",
            hint="a cluster that was made or copied otherwise is set up with 'holdfast wal setup'",
        )
    if not marker.adopted:
        _require_fit(server, marker, directory)
        repository = open_stack_repository(stack, asked, service)
        archive = WalArchive(repository.storage, repository.keys, server.system_identifier)
        _require_timeline_of_its_own(archive, repository.keys, server, directory)
        crashpoint.reach(CrashPoint.ADOPT_PROVEN)
        queue_own_wal(directory, read_control_file(directory))
        adopt_marker(directory)
        crashpoint.reach(CrashPoint.ADOPT_MARKED)
    adopted = read_marker(directory)
    assert adopted is not None
    return Adoption(directory, server.timeline, adopted.adopted, not marker.adopted, _statements(directory))


def reset_settings(stack: Stack, service: str, adoption: Adoption) -> None:
    """Run the statements of an adoption on the server; they take effect with its next start."""
    from holdfast.postgres.connection import connect, translated

    with connect(connection_string(choose_service(stack, service))) as connection, translated("resetting settings"):
        for statement in adoption.statements:
            connection.execute(statement.encode())


def _require_its_directory(conninfo: str, directory: Path) -> None:
    """Raise ServerError unless the server that answers runs in a directory: its origin has the same identifier."""
    with Server.connect(conninfo) as server:
        if not is_data_directory_of(server, directory):
            raise other_directory(directory)


def _require_fit(server: ArchivingFacts, marker: RestoreMarker, directory: Path) -> None:
    """Raise UsageError unless a whole restore was promoted, and its past is that of the snapshot."""
    if not marker.finished:
        raise UsageError(f"the restore to {directory} is not finished", hint="finish it with --resume, then promote")
    if server.is_standby:
        raise UsageError(
            f"the cluster in {directory} is in recovery", hint="promote it first (SELECT pg_promote()), then adopt"
        )
    facts = from_facts(dict(marker.facts), marker.snapshot)
    history = _local_history(directory, server.timeline)
    if not history.has_point(Timeline(facts.timeline), Lsn.parse(facts.stop_lsn)):
        raise UsageError(
            f"timeline {server.timeline} of {directory} does not come from the snapshot that was restored "
            f"({marker.snapshot[:8]}, timeline {facts.timeline} at {facts.stop_lsn})",
            hint="see which cluster this is; a new one is set up with 'holdfast wal setup'",
        )


def _local_history(directory: Path, timeline: Timeline) -> TimelineHistory:
    if timeline == 1:
        return first_history()
    path = directory / "pg_wal" / f"{timeline.hex}.history"
    try:
        return parse_history(timeline, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ServerError(
            f"cannot read {path}: {reason_of(error)}",
            hint="run where the server runs, as its owner or as root",
        ) from error


def _require_timeline_of_its_own(archive: WalArchive, keys: Keys, server: ArchivingFacts, directory: Path) -> None:
    """Compare every file that the archive has of the timeline with the server's own; content decides."""
    for file in archive.list(server.timeline):
        is_wal = file.kind in {WalFileKind.SEGMENT, WalFileKind.HISTORY}
        if is_wal and not _is_own(archive, keys, file.name, directory, server):
            raise HoldfastError(
                f"the archive holds {file.name} from another life of this cluster: timeline {server.timeline} is not "
                "this cluster's alone",
                hint=_OWN_TIMELINE,
            )


def _is_own(archive: WalArchive, keys: Keys, name: str, directory: Path, server: ArchivingFacts) -> bool:
    """Whether the server has the same bytes under this name; files beyond its WAL's end are recycled, not written."""
    if not name.endswith(".history") and parse_segment_name(name, server.segment_size).start >= server.lsn:
        return False
    path = directory / "pg_wal" / name
    try:
        stamp = archive.stamp(name)
    except NotFoundError:
        return False
    if not path.exists():
        return False
    with closing(read_wal_file(str(path), server.segment_size)) as file:
        return (stamp.digest, stamp.length_bytes) == (content_digest(keys, file), file.length_bytes)


def _statements(directory: Path) -> tuple[str, ...]:
    """Return what undoes the settings that a restore leaves in ``postgresql.auto.conf``."""
    try:
        lines = (directory / _AUTO_CONF).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    set_here = [name for name in _LEFT_BY_RESTORE if re.search(rf"^\s*{name}\s*=?\s*'?(off|0)\b", lines, re.MULTILINE)]
    return tuple(f"ALTER SYSTEM RESET {name}" for name in set_here)
