"""What a capture collects between start and stop: entries as they are scanned, files as they are read, facts."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import ServerError
from holdfast.postgres.control import CONTROL_PATH, read_control_content
from holdfast.postgres.datadir import classify
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import one_extent
from holdfast.repository.file_extents import store_extents
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import ROOT, shown
from holdfast.repository.page_memory import CachedMemory
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import FileSource, NoInspection
from holdfast.services.base import Captured
from holdfast.services.filesystem import make_entry, scan_tree
from holdfast.services.postgres.activity import most_changed, named
from holdfast.services.postgres.configuration import scan_configuration
from holdfast.services.postgres.content import content_class
from holdfast.services.postgres.facts import ChangedPages, CorruptPage, PostgresFacts, TablespaceFact, to_facts
from holdfast.services.postgres.pages import PageInspector, PageShape
from holdfast.services.postgres.rules import DataDirectoryRules
from holdfast.services.postgres.summary_use import SummaryUse
from holdfast.services.postgres.walfiles import WalRange, history_sources, wal_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.postgres.facts import ServerFacts
    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.segment import Segment
    from holdfast.postgres.server import BackupEnd
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer

_SHOWN_PAGES = 20


class Collection:
    """What one capture collects, from the start of the backup to the last of its WAL."""

    def __init__(self, writer: Writer, parent: Parent, facts: ServerFacts, root: Path, reporter: Reporter) -> None:
        self._writer, self._parent, self._facts, self._reporter = writer, parent, facts, reporter
        self._root = os.fsencode(root)
        self._inspector = PageInspector(PageShape(facts.block_size, facts.relation_segment_blocks))
        self._memory = CachedMemory(writer.page_cache, parent, facts.block_size)
        say_if_nothing_is_known(self._memory, writer, parent, reporter)
        self.summaries = SummaryUse(self._memory, facts, parent, reporter)
        inspector = self._inspector if facts.has_data_checksums else NoInspection()
        self._pipeline = Pipeline(writer, inspector, reporter, self._memory)
        self._entries: list[Entry] = []
        self._reused: set[bytes] = set()
        self._changed: tuple[ChangedPages, ...] = ()

    def capture_files(self, configuration: Iterable[str], pulse: Callable[[], None]) -> None:
        """Capture everything but WAL, and the configuration files elsewhere; the control file last.

        ``pulse`` is called every few seconds, and raises when the backup is lost.
        """
        sources = [*self._scan(), *self._scan_configuration(configuration)]
        self._reporter.phase("copying files", total_bytes=sum(source.entry.size for source in sources))
        self._pipeline.capture(sources, pulse)
        if others := list(self._other_names()):
            self._pipeline.capture(others, pulse)
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

    def name_changes(self, conninfo: str) -> None:
        """Count the pages that changed by relation, and ask the server, while it is there, for the relations' names."""
        if self._memory.compares:
            self._changed = named(most_changed(self._memory.changed), self._facts.databases, conninfo)
            self.summaries.name_missed(conninfo)

    def result(self, start: Lsn, end: BackupEnd, segments: list[Segment], seconds: dict[str, float]) -> Captured:
        """Return all that was captured, with the files that the server gave at the end."""
        capture = self._pipeline.result
        self._entries.append(self._given_file(b"backup_label", end.label))
        if end.tablespace_map:
            self._entries.append(self._given_file(b"tablespace_map", end.tablespace_map))
        corrupt = self._corrupt_pages()
        facts = with_changes(snapshot_facts(self._facts, start, end, segments, corrupt), self._memory, self._changed)
        unreadable = tuple(f"{shown(item.path)}: {item.reason}" for item in capture.unreadable)
        return Captured(
            entries=[*self._entries, *capture.entries],
            facts=to_facts(self.summaries.recorded(facts)),
            files_read=len(capture.entries),
            bytes_read=capture.bytes_read,
            missing=unreadable,
            warnings=self.summaries.warnings(),
            faults=describe_pages(corrupt),
            seconds=seconds,
            remember=remembering(self._memory, self._reporter),
        )

    def _scan(self) -> Iterator[FileSource]:
        """Yield the files to read; entries without content, and unchanged files, go straight to the result."""
        root = make_entry(ROOT, self._root, os.stat(self._root))
        assert root is not None
        self._entries.append(root)
        rules = DataDirectoryRules((tablespace.oid for tablespace in self._facts.tablespaces), self._facts.major)
        for entry, absolute in scan_tree(self._root, rules, self._pipeline.result.unreadable):
            if entry.path != CONTROL_PATH:
                yield from self._to_read(entry, absolute)

    def _other_names(self) -> Iterator[FileSource]:
        """Yield files whose first name is lost by their other names: a link to nothing could not be restored."""
        result = self._pipeline.result
        lost = {*result.vanished, *(item.path for item in result.unreadable)}
        for link in [each for each in self._entries if each.kind is EntryKind.HARD_LINK and each.link in lost]:
            self._entries.remove(link)
            absolute = os.path.join(self._root, link.path)
            with suppress(FileNotFoundError):
                entry = make_entry(link.path, absolute, os.lstat(absolute))
                if entry is not None:
                    yield FileSource(entry, absolute, content_class(entry.path))

    def _scan_configuration(self, files: Iterable[str]) -> Iterator[FileSource]:
        for entry, absolute in scan_configuration(self._root, files, self._reporter):
            yield from self._to_read(entry, absolute)

    def _to_read(self, entry: Entry, absolute: bytes) -> Iterator[FileSource]:
        """Yield the source of a file that may have changed; anything else is an entry without being read."""
        unchanged = self._unchanged(entry) if entry.kind is EntryKind.FILE else entry
        if unchanged is None:
            yield FileSource(entry, absolute, content_class(entry.path))
            return
        self._entries.append(unchanged)
        if entry.kind is EntryKind.FILE:
            self._reused.add(entry.path)
            self._memory.reuse(unchanged)

    def _unchanged(self, entry: Entry) -> Entry | None:
        """Return a file with the parent's content, or None when it must be read."""
        if self._memory.reads_all and classify(entry.path).relation is not None:
            return None
        return self._parent.reuse(entry)

    def _control_entry(self) -> Entry:
        absolute = os.path.join(self._root, CONTROL_PATH)
        entry = make_entry(CONTROL_PATH, absolute, os.stat(absolute))
        assert entry is not None
        return self._with_content(entry, read_control_content(Path(os.fsdecode(self._root))))

    def _given_file(self, name: bytes, content: bytes) -> Entry:
        """Return the entry of a file that the server gave, owned and protected as the control file is."""
        control = next(entry for entry in self._entries if entry.path == CONTROL_PATH)
        return self._with_content(msgspec.structs.replace(control, path=name, inode=0), content)

    def _with_content(self, entry: Entry, content: bytes) -> Entry:
        extents = one_extent(len(content), self._writer.put(ContentClass.FILE, [content])[0])
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


def snapshot_facts(
    facts: ServerFacts, start: Lsn, end: BackupEnd, segments: list[Segment], corrupt: list[CorruptPage]
) -> PostgresFacts:
    """Return what a snapshot records of the server and of the backup."""
    return PostgresFacts(
        version=facts.version,
        major=facts.major,
        system_identifier=str(facts.system_identifier),
        timeline=int(facts.timeline),
        start_lsn=str(start),
        stop_lsn=str(end.lsn),
        stop_time=end.time.astimezone(UTC).isoformat(),
        is_standby=facts.is_standby,
        block_size=facts.block_size,
        wal_segment_size=facts.wal_segment_size,
        has_data_checksums=facts.has_data_checksums,
        data_directory=facts.data_directory,
        wal_level=facts.wal_level,
        archive_mode=facts.archive_mode,
        encoding=facts.encoding,
        tablespaces=tuple(TablespaceFact(t.oid, t.name, t.location, t.is_in_place) for t in facts.tablespaces),
        databases=tuple(database.name for database in facts.databases),
        database_numbers={database.name: database.oid for database in facts.databases},
        recovery_settings=facts.recovery_settings,
        server_started=facts.started,
        wal_segments=tuple(segment.name for segment in segments),
        corrupt_pages=tuple(corrupt),
    )


def say_if_nothing_is_known(memory: CachedMemory, writer: Writer, parent: Parent, reporter: Reporter) -> None:
    """Say that chunk ids alone decide where a backup before this one left a parent, or hashes, but not both."""
    if not memory.compares and (parent.snapshot is not None or writer.page_cache.exists()):
        reporter.notice(
            "there are no page hashes of the last snapshot, or they are damaged: what changed is stored by chunks of "
            "1 MiB this time"
        )


def with_changes(facts: PostgresFacts, memory: CachedMemory, changed: tuple[ChangedPages, ...]) -> PostgresFacts:
    """Return the facts with how many pages changed, and of which relations, where pages were compared."""
    if not memory.compares:
        return facts
    count = sum(memory.changed.values())
    return msgspec.structs.replace(facts, changed_page_count=count, changed_pages=changed)


def remembering(memory: CachedMemory, reporter: Reporter) -> Callable[[str], None]:
    """Return what keeps the hashes of all pages for the next backup, called with the id of the snapshot."""

    def remember(snapshot_id: str) -> None:
        failure = memory.commit(snapshot_id)
        if failure is not None:
            reporter.notice(f"what was learned of pages could not be kept, so the next one reads more: {failure}")

    return remember


def describe_pages(pages: list[CorruptPage]) -> tuple[str, ...]:
    """Return corrupt pages as lines for people, the first ones of many."""
    lines = [f"corrupt page: {page.path} block {page.block}, LSN {page.lsn}" for page in pages[:_SHOWN_PAGES]]
    if len(pages) > _SHOWN_PAGES:
        lines.append(f"and {len(pages) - _SHOWN_PAGES} more corrupt pages: 'holdfast show' lists them all")
    return tuple(lines)
