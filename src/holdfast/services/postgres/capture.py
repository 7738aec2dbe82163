"""One PostgreSQL cluster, captured from its data directory while it runs.

The order is the safety argument: WAL is held before the backup starts; files are read between start and stop, the
control file last of them; then the WAL from start to stop is read, still held. Whatever fails on the way, the
connection ends, and with it the backup and the hold on the server.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError
from holdfast.postgres.control import ControlFile, read_control_content, read_control_file
from holdfast.postgres.location import verify_is_data_directory
from holdfast.postgres.segment import segments_between
from holdfast.postgres.server import BackupEnd, Server
from holdfast.repository.compression import ContentClass
from holdfast.repository.manifest import EXTENT_DTYPE, Entry, EntryKind, store_extents
from holdfast.repository.names import ROOT, shown
from holdfast.repository.parent import NO_PARENT
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import FileSource, NoInspection
from holdfast.services.base import Captured
from holdfast.services.filesystem import make_entry, scan_tree
from holdfast.services.postgres.facts import CorruptPage, PostgresFacts, TablespaceFact, to_facts
from holdfast.services.postgres.pages import PageInspector, PageShape
from holdfast.services.postgres.rules import CONTROL, DataDirectoryRules, content_class
from holdfast.services.postgres.walfiles import WalRange, history_sources, wal_sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.postgres.facts import ServerFacts
    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer

_SHOWN_PAGES = 20


@dataclass(frozen=True)
class PostgresOptions:
    """How the server is reached, and what differs from what it says of itself."""

    conninfo: str
    label: str
    data_directory: Path | None = None


class _Stopwatch:
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
        watch = _Stopwatch()
        with Server.connect(self._options.conninfo) as server:
            reporter.phase("starting the backup")
            facts = server.probe()
            root = self._data_directory(facts)
            server.hold_wal()
            start = server.start_backup(self._options.label, fast=True)
            _require_checkpointed(root, facts)
            facts = replace(facts, tablespaces=server.tablespaces())
            crashpoint.reach(CrashPoint.BACKUP_STARTED)
            watch.lap("start")

            run = _Run(writer, _usable_parent(parent, facts, reporter), facts, root, reporter)
            run.capture_files()
            watch.lap("files")

            end = server.stop_backup()
            _require_same_cluster(server, facts)
            _require_same_tablespaces(server, facts)
            crashpoint.reach(CrashPoint.BACKUP_STOPPED)
            watch.lap("stop")

            segments = list(segments_between(start, end.lsn, facts.timeline, facts.wal_segment_size))
            run.capture_wal(WalRange(segments, start, end.lsn, facts.wal_block_size, facts.system_identifier))
            crashpoint.reach(CrashPoint.WAL_CAPTURED)
            watch.lap("wal")
        return run.result(start, end, segments, watch.seconds)

    def _data_directory(self, facts: ServerFacts) -> Path:
        """Return the data directory as seen from here, proven to be that of the server that was asked."""
        root = self._options.data_directory or Path(facts.data_directory)
        verify_is_data_directory(root)
        control = read_control_file(root)
        if control.system_identifier != facts.system_identifier:
            raise ServerError(
                f"{root} belongs to another cluster (system identifier {control.system_identifier}) than the server "
                f"that answers (system identifier {facts.system_identifier})",
                hint="correct 'connection' or 'data_directory' of this service",
            )
        _require_same_shape(control, facts)
        return root


class _Run:
    """One capture of one cluster: what is collected between start and stop."""

    def __init__(self, writer: Writer, parent: Parent, facts: ServerFacts, root: Path, reporter: Reporter) -> None:
        self._writer, self._parent, self._facts, self._reporter = writer, parent, facts, reporter
        self._root = os.fsencode(root)
        self._inspector = PageInspector(PageShape(facts.block_size, facts.relation_segment_blocks))
        self._pipeline = Pipeline(writer, self._inspector if facts.has_data_checksums else NoInspection(), reporter)
        self._entries: list[Entry] = []
        self._reused: set[bytes] = set()

    def capture_files(self) -> None:
        """Capture everything but WAL; the control file last."""
        sources = list(self._scan())
        self._reporter.phase("copying files", total_bytes=sum(source.entry.size for source in sources))
        self._pipeline.capture(sources)
        self._entries.append(self._control_entry())

    def capture_wal(self, wal: WalRange) -> None:
        """Capture the segments of the backup and the timeline's history."""
        sources = wal_sources(self._root, wal)
        sources.extend(history_sources(self._root, self._facts.timeline.hex))
        self._reporter.phase("copying WAL", total_bytes=sum(source.entry.size for source in sources))
        lost_before = len(self._pipeline.result.vanished) + len(self._pipeline.result.unreadable)
        self._pipeline.capture(sources)
        lost = [*self._pipeline.result.vanished, *(item.path for item in self._pipeline.result.unreadable)][
            lost_before:
        ]
        if lost:
            raise ServerError(f"WAL could not be read: {shown(lost[0])}", hint="run the backup again")

    def result(self, start: Lsn, end: BackupEnd, segments: list[Segment], seconds: dict[str, float]) -> Captured:
        """Return all that was captured, with the files that the server gave at the end."""
        capture = self._pipeline.result
        self._entries.append(self._given_file(b"backup_label", end.label))
        if end.tablespace_map:
            self._entries.append(self._given_file(b"tablespace_map", end.tablespace_map))
        corrupt = self._corrupt_pages()
        facts = _snapshot_facts(self._facts, start, end, segments, corrupt)
        unreadable = tuple(f"{shown(item.path)}: {item.reason}" for item in capture.unreadable)
        return Captured(
            entries=[*self._entries, *capture.entries],
            facts=to_facts(facts),
            files_read=len(capture.entries),
            bytes_read=capture.bytes_read,
            missing=unreadable,
            faults=_describe_pages(corrupt),
            seconds=seconds,
        )

    def _scan(self) -> Iterable[FileSource]:
        """Yield the files to read; entries without content, and unchanged files, go straight to the result."""
        root = make_entry(ROOT, self._root, os.stat(self._root))
        assert root is not None
        self._entries.append(root)
        rules = DataDirectoryRules(tablespace.oid for tablespace in self._facts.tablespaces)
        for entry, absolute in scan_tree(self._root, rules, self._pipeline.result.unreadable):
            if entry.path == CONTROL:
                continue
            if entry.kind is not EntryKind.FILE:
                self._entries.append(entry)
                continue
            unchanged = self._parent.reuse(entry)
            if unchanged is None:
                yield FileSource(entry, absolute, content_class(entry.path))
            else:
                self._entries.append(unchanged)
                self._reused.add(entry.path)

    def _control_entry(self) -> Entry:
        absolute = os.path.join(self._root, CONTROL)
        entry = make_entry(CONTROL, absolute, os.stat(absolute))
        assert entry is not None
        return self._with_content(entry, read_control_content(Path(os.fsdecode(self._root))))

    def _given_file(self, name: bytes, content: bytes) -> Entry:
        """Return the entry of a file that the server gave, owned and protected as the control file is."""
        control = next(entry for entry in self._entries if entry.path == CONTROL)
        return self._with_content(msgspec.structs.replace(control, path=name, inode=0), content)

    def _with_content(self, entry: Entry, content: bytes) -> Entry:
        extents = np.zeros(1, dtype=EXTENT_DTYPE)
        extents[0] = (0, len(content), 0, np.void(self._writer.put(ContentClass.FILE, [content])[0]))
        inline, chunks = store_extents(extents, self._writer.put_metadata)
        return msgspec.structs.replace(entry, size=len(content), extents=inline, extent_chunks=chunks)

    def _corrupt_pages(self) -> list[CorruptPage]:
        """Return what this run found, and what the parent found in files that were not read again."""
        inherited = [
            page
            for page in msgspec.convert(self._parent.facts.get("corrupt_pages", ()), list[CorruptPage])
            if os.fsencode(page.path) in self._reused
        ]
        return sorted([*inherited, *self._inspector.corrupt], key=lambda page: (page.path, page.block))


def _usable_parent(parent: Parent, facts: ServerFacts, reporter: Reporter) -> Parent:
    """Return the parent, or none where its files may not be trusted: another cluster, history or page format."""
    if parent.snapshot is None:
        return parent
    now = (str(facts.system_identifier), int(facts.timeline), facts.has_data_checksums, facts.major)
    then = tuple(parent.facts.get(key) for key in ("system_identifier", "timeline", "has_data_checksums", "major"))
    if now == then:
        return parent
    reporter.notice(
        "the cluster, its timeline or its checksum setting changed since the last backup: reading all files"
    )
    return NO_PARENT


def _require_same_shape(control: ControlFile, facts: ServerFacts) -> None:
    """Compare what the control file and the server say of page and segment sizes."""
    on_disk = (control.block_size, control.wal_segment_size, control.relation_segment_blocks)
    said = (facts.block_size, facts.wal_segment_size, facts.relation_segment_blocks)
    if on_disk != said:
        raise ServerError(
            f"pg_control and the server disagree on block and segment sizes: {on_disk} and {said}",
            hint="check that 'connection' and 'data_directory' name the same server",
        )


def _require_same_cluster(server: Server, facts: ServerFacts) -> None:
    """Raise when the server was promoted, or changed its timeline, while it was copied (FAULTS 10)."""
    if server.current_timeline() != facts.timeline or server.is_in_recovery() != facts.is_standby:
        raise ServerError(
            "the server was promoted or changed its timeline during the backup, which is therefore void",
            hint="run the backup again",
        )


def _require_same_tablespaces(server: Server, facts: ServerFacts) -> None:
    """Raise when a tablespace was made meanwhile: recovery would make it again at its place, which is in use here.

    One that was dropped does no harm: recovery drops it, too.
    """
    known = {tablespace.oid for tablespace in facts.tablespaces}
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


def _snapshot_facts(
    facts: ServerFacts, start: Lsn, end: BackupEnd, segments: list[Segment], corrupt: list[CorruptPage]
) -> PostgresFacts:
    return PostgresFacts(
        version=facts.version,
        major=facts.major,
        system_identifier=str(facts.system_identifier),
        timeline=int(facts.timeline),
        start_lsn=str(start),
        stop_lsn=str(end.lsn),
        is_standby=facts.is_standby,
        block_size=facts.block_size,
        wal_segment_size=facts.wal_segment_size,
        has_data_checksums=facts.has_data_checksums,
        data_directory=facts.data_directory,
        wal_level=facts.wal_level,
        encoding=facts.encoding,
        tablespaces=tuple(TablespaceFact(t.oid, t.name, t.location, t.is_in_place) for t in facts.tablespaces),
        databases=tuple(database.name for database in facts.databases),
        wal_segments=tuple(segment.name for segment in segments),
        corrupt_pages=tuple(corrupt),
    )


def _describe_pages(pages: list[CorruptPage]) -> tuple[str, ...]:
    lines = [f"corrupt page: {page.path} block {page.block}, LSN {page.lsn}" for page in pages[:_SHOWN_PAGES]]
    if len(pages) > _SHOWN_PAGES:
        lines.append(f"and {len(pages) - _SHOWN_PAGES} more corrupt pages: 'holdfast show' lists them all")
    return tuple(lines)
