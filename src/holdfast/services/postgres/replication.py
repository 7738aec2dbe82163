"""One PostgreSQL cluster, captured through replication connections: for a server whose files cannot be reached.

The order is the safety argument, as by data directory: a temporary slot on a connection of its own holds the WAL before
the base backup starts; then WAL and files come side by side, each on a connection of its own, the control file last of
the files; WAL goes on until it has reached the backup's end. The server's own list of files is compared with what came.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError
from holdfast.postgres.replication import ReplicationConnection
from holdfast.services.postgres.capture import Stopwatch, usable_parent, warned
from holdfast.services.postgres.replication_collection import StreamCollection
from holdfast.services.postgres.replication_facts import ask_catalog, named_tablespaces, replication_facts
from holdfast.services.postgres.replication_segments import StoredSegments, StreamedWal
from holdfast.services.postgres.replication_wal import ArrivingWal

if TYPE_CHECKING:
    from holdfast.postgres.base_backup import BaseBackup, BaseBackupEnd
    from holdfast.postgres.facts import ServerFacts
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer
    from holdfast.services.base import Captured
    from holdfast.services.postgres.capture import PostgresOptions

_APPLICATION = "holdfast"
_FIRST_TIMELINE = 1


class ReplicationService:
    """A cluster that is reached by the replication protocol alone (a Service)."""

    kind = "postgres"
    promises = (
        "the whole cluster as of the backup's end, consistent, with the WAL to recover to that point; "
        "unlogged tables come back empty; configuration kept outside the data directory is not in it"
    )

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options

    def capture(self, writer: Writer, parent: Parent, reporter: Reporter) -> Captured:
        """Capture the cluster; see the module's text for the order and why."""
        watch, conninfo = Stopwatch(), self._options.conninfo
        with (
            ReplicationConnection.connect(conninfo, _APPLICATION) as wal,
            ReplicationConnection.connect(conninfo, _APPLICATION) as files,
        ):
            reporter.phase("starting the backup")
            catalog = ask_catalog(conninfo, reporter)
            facts = replication_facts(wal, wal.identify(), catalog)
            slot = f"holdfast_{secrets.token_hex(6)}"
            wal.hold_wal(slot)
            backup = files.base_backup(self._options.label)
            _require_checkpointed(backup, facts)
            facts = replace(facts, tablespaces=named_tablespaces(backup.start.tablespaces, catalog))
            crashpoint.reach(CrashPoint.BACKUP_STARTED)
            watch.lap("start")

            known = usable_parent(parent, facts, reporter)
            collection = StreamCollection(writer, known, facts, backup, reporter, names=catalog.tablespace_names)
            history = wal.timeline_history(facts.timeline) if facts.timeline > _FIRST_TIMELINE else None
            streamed = StreamedWal(backup.start.lsn, facts.timeline, facts.wal_segment_size, facts.wal_block_size)
            segments, slot_moves = StoredSegments(writer, streamed), _slot_moves(wal, reporter)
            stream = wal.stream(slot, streamed.first.start, facts.timeline)
            with ArrivingWal(stream, segments, slot_moves=slot_moves) as arriving:
                collection.capture_files(lambda: _pulse(backup, arriving))
                watch.lap("files")

                end = backup.finish()
                collection.require_as_sent()
                collection.name_changes(conninfo)
                crashpoint.reach(CrashPoint.BACKUP_STOPPED)
                watch.lap("stop")

                reporter.phase("copying WAL")
                wal_end = streamed.end(end.lsn, has_switched=not facts.is_standby)
                arriving.finish(wal_end)
            _require_same_timeline(wal, end, facts)
            segments.require_no_tablespace(end.lsn)
            collection.add_wal(segments.extents(wal_end), history)
            crashpoint.reach(CrashPoint.WAL_CAPTURED)
            watch.lap("wal")
        return warned(collection.result(end, arriving.sent or clock.now(), watch.seconds), parent, facts)


def _slot_moves(wal: ReplicationConnection, reporter: Reporter) -> bool:
    """Return whether the slot may move on as WAL is stored: not where the server could take a backup for a standby."""
    if not wal.may_be_synchronous(_APPLICATION):
        return True
    reporter.notice(
        "WAL stays on the server until the backup ends, as synchronous_standby_names would take it for a standby"
    )
    return False


def _pulse(backup: BaseBackup, wal: ArrivingWal) -> None:
    """Keep both connections wanted, and raise as soon as that of the WAL is lost."""
    backup.keep_wanted()
    wal.keep_alive()


def _require_checkpointed(backup: BaseBackup, facts: ServerFacts) -> None:
    """Raise when recovery would begin on an older timeline than the server's: a standby after a change of primary."""
    if backup.start.timeline != facts.timeline:
        raise ServerError(
            f"the standby has no restart point on timeline {facts.timeline} yet",
            hint="run CHECKPOINT on its primary, then the backup again",
        )


def _require_same_timeline(wal: ReplicationConnection, end: BaseBackupEnd, facts: ServerFacts) -> None:
    """Raise when the server was promoted, or changed its timeline, while it was copied (FAULTS 10)."""
    if end.timeline != facts.timeline or wal.identify().timeline != facts.timeline:
        raise ServerError(
            "the server was promoted or changed its timeline during the backup, which is therefore void",
            hint="run the backup again",
        )
