"""What a capture by the replication protocol collects: entries and files as they come, WAL, facts."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_manifest import require_same_files
from holdfast.postgres.control import CONTROL_PATH, parse_control_file
from holdfast.postgres.facts import Tablespace
from holdfast.postgres.server import BackupEnd
from holdfast.repository.compression import ContentClass
from holdfast.repository.extents import one_extent
from holdfast.repository.file_extents import store_extents
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import ROOT
from holdfast.repository.page_memory import CachedMemory
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import NoInspection
from holdfast.services.base import Captured
from holdfast.services.postgres.activity import most_changed, named
from holdfast.services.postgres.collection import (
    describe_pages,
    remembering,
    say_if_nothing_is_known,
    snapshot_facts,
    with_changes,
)
from holdfast.services.postgres.facts import to_facts
from holdfast.services.postgres.layout import escaped
from holdfast.services.postgres.pages import PageShape
from holdfast.services.postgres.replication_ahead import TasksAhead
from holdfast.services.postgres.replication_files import LABEL, TABLESPACE_MAP, ArrivingFiles
from holdfast.services.postgres.replication_notices import left_out_on_the_way
from holdfast.services.postgres.replication_pages import ArrivedPageInspector
from holdfast.services.postgres.rules import DataDirectoryRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    import numpy as np

    from holdfast.postgres.base_backup import BaseBackup, BaseBackupEnd
    from holdfast.postgres.facts import ServerFacts
    from holdfast.postgres.segment import Segment
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer
    from holdfast.services.postgres.facts import ChangedPages

_SHOWN_COMPLAINTS = 20
_LINK_MODE = 0o777
_LIKE_ROOT = b"base"
_IN_PLACE = re.compile(rb"pg_tblspc/([0-9]+)")


class StreamCollection:
    """What one capture collects, from the start of the base backup to the last of its WAL."""

    def __init__(
        self,
        writer: Writer,
        parent: Parent,
        facts: ServerFacts,
        backup: BaseBackup,
        reporter: Reporter,
        *,
        names: Mapping[int, str],
    ) -> None:
        """``names``: those of tablespaces, by number, as far as they are known."""
        self._writer, self._facts, self._backup, self._names, self._reporter = writer, facts, backup, names, reporter
        shape = PageShape(facts.block_size, facts.relation_segment_blocks)
        self._inspector = ArrivedPageInspector(shape, backup.start.lsn)
        self._memory = CachedMemory(writer.page_cache, parent, facts.block_size)
        say_if_nothing_is_known(self._memory, writer, parent, reporter)
        inspector = self._inspector if facts.has_data_checksums else NoInspection()
        self._pipeline = Pipeline(writer, inspector, reporter, self._memory)
        rules = DataDirectoryRules((tablespace.oid for tablespace in facts.tablespaces), facts.major)
        self._files = ArrivingFiles(backup, rules)
        self._given: list[Entry] = []
        self._segments: list[Segment] = []
        self._wal_bytes = 0
        self._changed: tuple[ChangedPages, ...] = ()

    def capture_files(self, pulse: Callable[[], None]) -> None:
        """Capture everything but WAL. ``pulse`` is called every few seconds, and raises when the backup is lost."""
        total = sum(tablespace.estimated_bytes for tablespace in self._backup.start.tablespaces)
        self._reporter.phase("copying files", total_bytes=total)
        self._backup.keep_wanted()
        with TasksAhead(self._files.tasks(), self._backup.give_up) as tasks:
            self._pipeline.work_off(tasks, pulse, self._backup.give_up)

    def name_changes(self, conninfo: str) -> None:
        """Count the pages that changed by relation, with their names where the catalog may be asked."""
        if self._memory.compares:
            changed = most_changed(self._memory.changed)
            databases = self._facts.databases
            self._changed = named(changed, databases, conninfo) if databases else changed

    def require_as_sent(self) -> None:
        """Raise VerificationError unless every file came as the server sent it, and is of the cluster that answers."""
        listed = self._backup.manifest.files
        for path in self._files.left_out:
            listed.pop(path, None)
        require_same_files(listed, self._files.files)
        control = parse_control_file(self._whole(CONTROL_PATH)[1])
        if control.system_identifier != self._facts.system_identifier:
            raise VerificationError(
                "the control file that came is that of another cluster", hint="run the backup again"
            )

    def add_wal(self, segments: Iterable[tuple[Segment, np.ndarray]], history: tuple[str, bytes] | None) -> None:
        """Add the segments of the backup, with their extents, and the timeline's history (file name, content)."""
        for segment, extents in segments:
            self._segments.append(segment)
            self._wal_bytes += int(extents["length"].sum())
            path = b"pg_wal/" + segment.name.encode("ascii")
            self._given.append(self._entry(path, segment.size_bytes, extents))
        if history:
            self._given.append(self._stored(b"pg_wal/" + history[0].encode("ascii"), history[1]))

    def result(self, end: BaseBackupEnd, stop_time: datetime, seconds: dict[str, float]) -> Captured:
        """Return all that was captured, with what the server gave for recovery; ``stop_time`` is the server's clock."""
        facts = replace(self._facts, tablespaces=self._tablespaces())
        ending = BackupEnd(end.lsn, self._whole(LABEL)[1], self._tablespace_map(facts.tablespaces), stop_time)
        corrupt = self._inspector.settle(end.lsn)
        capture = self._pipeline.result
        given = [
            *self._given,
            self._stored(CONTROL_PATH, self._whole(CONTROL_PATH)[1]),
            self._stored(LABEL, ending.label),
        ]
        if ending.tablespace_map:
            given.append(self._stored(TABLESPACE_MAP, ending.tablespace_map))
        found = snapshot_facts(facts, self._backup.start.lsn, ending, self._segments, corrupt)
        return Captured(
            entries=[*self._tree(facts.tablespaces), *capture.entries, *given],
            facts=to_facts(with_changes(found, self._memory, self._changed)),
            files_read=len(capture.entries) + len(self._segments),
            bytes_read=capture.bytes_read + self._wal_bytes,
            missing=tuple(left_out_on_the_way(end.notices, self._there(), facts.tablespaces)),
            faults=(*describe_pages(corrupt), *_said_of_damage(end)),
            seconds=seconds,
            remember=remembering(self._memory, self._reporter),
        )

    def _whole(self, path: bytes) -> tuple[Entry, bytes]:
        try:
            return self._files.whole[path]
        except KeyError:
            raise VerificationError(
                f"the base backup came without {path.decode()}", hint="run the backup again"
            ) from None

    def _directory(self, path: bytes) -> Entry:
        for each in self._files.entries:
            if (each.path, each.kind) == (path, EntryKind.DIRECTORY):
                return each
        raise VerificationError(
            f"the base backup came without {path.decode()}",
            hint="a server does not send what lies behind a link: run Holdfast on the server itself, without 'method:'",
        )

    def _there(self) -> set[bytes]:
        """Return the paths of all that came."""
        return {each.path for each in self._files.entries} | self._files.files.keys()

    def _stored(self, path: bytes, content: bytes) -> Entry:
        """Store a file that is a chunk by itself."""
        extents = one_extent(len(content), self._writer.put(ContentClass.FILE, [content])[0])
        return self._entry(path, len(content), extents)

    def _entry(self, path: bytes, size: int, extents: np.ndarray) -> Entry:
        """Return the entry of a file that is owned and protected as the control file is."""
        inline, chunks = store_extents(extents, self._writer.put_metadata)
        return msgspec.structs.replace(
            self._whole(CONTROL_PATH)[0], path=path, size=size, extents=inline, extent_chunks=chunks
        )

    # -- tablespaces

    def _tablespaces(self) -> tuple[Tablespace, ...]:
        """Return the tablespaces, with those in place that 15 does not announce: it sends them with the rest."""
        known = {tablespace.oid for tablespace in self._facts.tablespaces}
        found = (_IN_PLACE.fullmatch(each.path) for each in self._files.entries if each.kind is EntryKind.DIRECTORY)
        in_place = (int(match[1]) for match in found if match and int(match[1]) not in known)
        return (
            *self._facts.tablespaces,
            *(
                Tablespace(oid, self._names.get(oid, str(oid)), f"pg_tblspc/{oid}", is_in_place=True)
                for oid in in_place
            ),
        )

    def _tree(self, tablespaces: Iterable[Tablespace]) -> Iterator[Entry]:
        """Yield what has no content: also the root and the places of tablespaces, which no archive holds."""
        yield from self._files.entries
        like = self._directory(_LIKE_ROOT)
        yield msgspec.structs.replace(like, path=ROOT)
        there = self._there()
        for tablespace in tablespaces:
            path = b"pg_tblspc/%d" % tablespace.oid
            if path in there:
                continue
            if tablespace.is_in_place:
                yield msgspec.structs.replace(like, path=path)
            else:
                place = os.fsencode(tablespace.location)
                yield msgspec.structs.replace(like, path=path, kind=EntryKind.SYMLINK, mode=_LINK_MODE, link=place)

    def _tablespace_map(self, tablespaces: Iterable[Tablespace]) -> bytes:
        """Return the file by which recovery makes the links of tablespaces: the server's, or where it gave none, ours.

        One line for each (``build_backup_content`` and ``read_tablespace_map`` in xlog.c and its neighbours).
        """
        given = self._files.whole.get(TABLESPACE_MAP)
        if given is not None:
            return given[1]
        elsewhere = (tablespace for tablespace in tablespaces if not tablespace.is_in_place)
        return b"".join(b"%d %s\n" % (each.oid, escaped(os.fsencode(each.location))) for each in elsewhere)


def _said_of_damage(end: BaseBackupEnd) -> list[str]:
    said = [*end.notices, end.damage][:_SHOWN_COMPLAINTS] if end.damage else []
    return [f"the server says: {words}" for words in said]
