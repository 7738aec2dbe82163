"""One PostgreSQL cluster, captured from its data directory while it runs.

The order is the safety argument: WAL is held before the backup starts; files are read between start and stop, the
control file last of them; then the WAL from start to stop is read, still held. Whatever fails on the way, the
connection ends, and with it the backup and the hold on the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import DamageError, ServerError
from holdfast.postgres.belonging import require_data_directory_of
from holdfast.postgres.control import read_control_file
from holdfast.postgres.segment import segments_between
from holdfast.postgres.server import Server
from holdfast.repository.parent import NO_PARENT
from holdfast.services.postgres.collection import Collection
from holdfast.services.postgres.facts import from_facts
from holdfast.services.postgres.summary_hint import ask_summaries
from holdfast.services.postgres.walfiles import WalRange

if TYPE_CHECKING:
    from datetime import timedelta

    from holdfast.postgres.facts import ServerFacts, Tablespace
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer
    from holdfast.services.base import Captured


@dataclass(frozen=True)
class PostgresOptions:
    """How the server is reached, and what differs from what it says of itself.

    ``rehash_every``: how long WAL summaries may be followed before all pages are read again; None: they are not used.
    """

    conninfo: str
    label: str
    data_directory: Path | None = None
    rehash_every: timedelta | None = None


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = clock.monotonic()

    def lap(self, phase: str) -> None:
        present = clock.monotonic()
        self.seconds[phase] = round(present - self._last, 3)
        self._last = present


class PostgresService:
    """A cluster whose data directory can be read from here (a Service)."""

    kind = "postgres"
    promises = (
        "the whole cluster as of the backup's end, consistent, with the WAL to recover to that point; "
        "unlogged tables come back empty"
    )

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options

    def capture(self, writer: Writer, parent: Parent, reporter: Reporter) -> Captured:
        """Capture the cluster; see the module's text for the order and why."""
        watch = Stopwatch()
        with Server.connect(self._options.conninfo) as server:
            reporter.phase("starting the backup")
            facts = server.probe()
            root = self._data_directory(server, facts)
            server.hold_wal()
            start = server.start_backup(self._options.label, fast=True)
            _require_checkpointed(root, facts)
            known_before, facts = facts.tablespaces, replace(facts, tablespaces=server.tablespaces())
            configuration = server.configuration_files()
            crashpoint.reach(CrashPoint.BACKUP_STARTED)
            watch.lap("start")

            known = usable_parent(parent, facts, reporter)
            collection = Collection(writer, known, facts, root, reporter)
            if self._options.rehash_every is None:
                collection.summaries.ignore()
            else:
                ask = partial(ask_summaries, self._options.conninfo, facts, known, start)
                collection.summaries.heed(ask, self._options.rehash_every)
            collection.capture_files(configuration, server.require_alive)
            watch.lap("files")

            end = server.stop_backup()
            _require_same_cluster(server, facts)
            _require_same_tablespaces(server, known_before)
            crashpoint.reach(CrashPoint.BACKUP_STOPPED)
            collection.name_changes(self._options.conninfo)
            watch.lap("stop")

            segments = list(segments_between(start, end.lsn, facts.timeline, facts.wal_segment_size))
            collection.capture_wal(WalRange(segments, start, end.lsn, facts.wal_block_size, facts.system_identifier))
            crashpoint.reach(CrashPoint.WAL_CAPTURED)
            watch.lap("wal")
        return warned(collection.result(start, end, segments, watch.seconds), parent, facts)

    def _data_directory(self, server: Server, facts: ServerFacts) -> Path:
        """Return the data directory as seen from here, proven to be that of the server that was asked."""
        root = self._options.data_directory or Path(facts.data_directory)
        require_data_directory_of(server, facts, root)
        return root


def usable_parent(parent: Parent, facts: ServerFacts, reporter: Reporter) -> Parent:
    """Return the parent, or none where its files may not be trusted: another cluster, history or page format."""
    if parent.snapshot is None:
        return parent
    try:
        from_facts(parent.facts, parent.snapshot.object_name)
    except DamageError as error:
        reporter.notice(f"the last snapshot is damaged: {error.message}; reading all files")
        return NO_PARENT
    now = (str(facts.system_identifier), int(facts.timeline), facts.has_data_checksums, facts.major)
    then = tuple(parent.facts.get(key) for key in ("system_identifier", "timeline", "has_data_checksums", "major"))
    if now == then:
        return parent
    what = "the cluster" if now[0] != then[0] else "the timeline, the version or the checksum setting of the cluster"
    reporter.notice(f"{what} is another than at the last backup: reading all files")
    return NO_PARENT


def warned(captured: Captured, parent: Parent, facts: ServerFacts) -> Captured:
    """Return what was captured, with a warning where it is another cluster than that of the parent.

    An upgrade makes it so, and so does a connection that leads to the wrong server: no reason not to back up, but the
    latest snapshot is not of what it was before, and whoever restores must know.
    """
    then = parent.facts.get("system_identifier", "")
    if parent.snapshot is None or then == str(facts.system_identifier):
        return captured
    words = (
        f"this is another cluster than that of the last snapshot, {parent.snapshot.short_id}: "
        f"its system identifier is {facts.system_identifier}, and was {then}"
    )
    return replace(captured, warnings=(words, *captured.warnings))


def _require_same_cluster(server: Server, facts: ServerFacts) -> None:
    """Raise when the server was promoted, or changed its timeline, while it was copied (FAULTS 10)."""
    if server.current_timeline() != facts.timeline or server.is_in_recovery() != facts.is_standby:
        raise ServerError(
            "the server was promoted or changed its timeline during the backup, which is therefore void",
            hint="run the backup again",
        )


def _require_same_tablespaces(server: Server, known_before: tuple[Tablespace, ...]) -> None:
    """Raise when a tablespace was made meanwhile: recovery would make it again at its place, which is in use here.

    That is so from the redo point on, which a checkpoint may pass long before it is done: ``known_before`` are those
    before it began. One that was dropped does no harm: recovery drops it, too.
    """
    known = {tablespace.oid for tablespace in known_before}
    made = [tablespace.name for tablespace in server.tablespaces() if tablespace.oid not in known]
    if made:
        raise ServerError(
            f"tablespace {made[0]} was made during the backup, which cannot hold it", hint="run the backup again"
        )


def _require_checkpointed(root: Path, facts: ServerFacts) -> None:
    """Raise when recovery would begin on an older timeline than the server's: a standby after a change of primary.

    Without recovery.signal the server replays only the timeline of its control file, and would miss the end.
    """
    if read_control_file(root).timeline != facts.timeline:
        raise ServerError(
            f"the standby has no restart point on timeline {facts.timeline} yet",
            hint="run CHECKPOINT on its primary, then the backup again",
        )
