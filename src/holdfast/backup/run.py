"""A backup from start to commit, whatever the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast import __version__, clock
from holdfast.errors import DamageError
from holdfast.model import host_name, new_object_id
from holdfast.repository.pack import PACK_PREFIX
from holdfast.repository.parent import NO_PARENT, Parent, load_parent
from holdfast.repository.reader import ChunkReader
from holdfast.repository.snapshot import Snapshot, SnapshotStats
from holdfast.repository.writer import WriterOptions

if TYPE_CHECKING:
    from holdfast.progress import Reporter
    from holdfast.repository.index import ChunkIndex
    from holdfast.repository.repository import Repository
    from holdfast.repository.writer import Writer
    from holdfast.services.base import Captured, Service


@dataclass(frozen=True)
class BackupOptions:
    """What is backed up under which name, and how. ``rehashes``: read every file, whatever it looks like."""

    stack: str
    service: str
    tags: tuple[str, ...] = ()
    rehashes: bool = False
    writer: WriterOptions = field(default_factory=WriterOptions)


def run_backup(repository: Repository, service: Service, options: BackupOptions, reporter: Reporter) -> Snapshot:
    """Back up one service; return its snapshot, which is then in the repository.

    Raises BusyError when the service is being backed up already, and whatever ended the backup early; then there is
    no snapshot, and what was stored is reused by the next run.
    """
    clock.require_plausible()
    started, began = clock.now(), clock.monotonic()
    reporter.phase("opening the repository")
    writer, index = repository.writer(options.stack, options.service, options.writer)
    with writer:
        parent = choose_parent(repository, index, options, reporter)
        captured = service.capture(writer, parent, reporter)

        reporter.phase("storing the list of files")
        manifest = writer.store_manifest(sorted(captured.entries, key=lambda entry: entry.path))
        writer.flush()

        reporter.phase("committing")
        snapshot = Snapshot(
            id=new_object_id(),
            stack=options.stack,
            service=options.service,
            kind=service.kind,
            host=host_name(),
            started=started.isoformat(),
            ended=clock.now().isoformat(),
            tool_version=__version__,
            manifest=manifest,
            is_complete=not captured.missing,
            is_clean=not captured.faults,
            is_encrypted=repository.keys.is_encrypted,
            parent=parent.snapshot.id if parent.snapshot else None,
            tags=options.tags,
            stats=_stats(captured, writer, clock.monotonic() - began),
            facts=captured.facts,
            warnings=(*captured.missing, *captured.faults, *captured.warnings),
        )
        if parent.snapshot is None and len(index):
            require_readable(repository, snapshot)
        writer.commit(snapshot)
        captured.remember(snapshot.id)
    return snapshot


def choose_parent(repository: Repository, index: ChunkIndex, options: BackupOptions, reporter: Reporter) -> Parent:
    """Return the newest snapshot of the same service as parent, none for a first or a rehashing backup.

    A damaged one is no reason not to back up: then everything is read, and what is lost is stored again.
    """
    if options.rehashes:
        return NO_PARENT
    survey = repository.survey_snapshots().of(options.stack, options.service)
    for damage in survey.damages:
        reporter.warning(f"a snapshot does not open: {damage.message}")
    own = survey.snapshots
    if not own:
        return NO_PARENT
    reader = ChunkReader(repository.storage, repository.keys, index)
    try:
        return load_parent(own[-1], repository.entries(reader, own[-1]), reader)
    except DamageError as error:
        reporter.warning(f"the last snapshot is damaged, so all files are read ({error.message}): {error.hint}")
        return NO_PARENT


def require_readable(repository: Repository, snapshot: Snapshot) -> None:
    """Raise DamageError unless a list of files that was stored comes back.

    What is there by its chunk id is not stored again, be it damaged; only that of a parent has been read.
    """
    reader = repository.reader()
    try:
        load_parent(snapshot, repository.entries(reader, snapshot), reader)
    except DamageError as error:
        if not error.object_name.startswith(f"{PACK_PREFIX}/"):
            raise
        hint = f"move {error.object_name} out of the storage, then run the backup again"
        raise DamageError(error.object_name, error.reason, hint=hint) from error


def _stats(captured: Captured, writer: Writer, seconds: float) -> SnapshotStats:
    return SnapshotStats(
        files=len(captured.entries),
        size_bytes=sum(entry.size for entry in captured.entries),
        files_read=captured.files_read,
        bytes_read=captured.bytes_read,
        new_chunks=writer.counts.chunks,
        new_plain_bytes=writer.counts.plain_bytes,
        stored_bytes=writer.stored_bytes,
        seconds={**captured.seconds, "total": round(seconds, 3)},
    )
