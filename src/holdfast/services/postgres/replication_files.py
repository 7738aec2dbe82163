"""The files of a base backup as they come, turned into the very chunks that reading the data directory gives.

Large files are cut at the same boundaries. Small ones are held in memory until all of their directory have come, as the
order of an archive is that of the server's file system; a directory whose small files are more than ``_HELD_BYTES`` is
bundled as they come, and then shares its chunks with the next backup of this kind only.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from crc32c import crc32c

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_tar import MemberKind
from holdfast.postgres.control import CONTROL_PATH
from holdfast.repository.chunker import BUNDLE_FILE_BYTES, bundle_cuts, content_cuts, fixed_cuts
from holdfast.repository.compression import ContentClass
from holdfast.repository.manifest import Entry, EntryKind, storable_time
from holdfast.repository.sources import FileSource
from holdfast.services.postgres.content import content_class
from holdfast.services.postgres.replication_tasks import SPAN_BYTES, ArrivingFile, BundleTask, SmallFile, SpanBuffers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.base_backup import BaseBackup
    from holdfast.postgres.base_backup_tar import TarHeader
    from holdfast.repository.intake import Task
    from holdfast.services.postgres.rules import DataDirectoryRules

_HELD_BYTES = 48 << 20
_KEPT_LIMIT_BYTES = 16 << 20
"""A control file has 8 KiB; a line of ``tablespace_map`` 1 KiB, so these are thousands of tablespaces."""
LABEL, TABLESPACE_MAP = b"backup_label", b"tablespace_map"
_KEPT_WHOLE = {LABEL, TABLESPACE_MAP, CONTROL_PATH}
_KINDS = {
    MemberKind.FILE: EntryKind.FILE,
    MemberKind.DIRECTORY: EntryKind.DIRECTORY,
    MemberKind.SYMLINK: EntryKind.SYMLINK,
}
_Group = tuple[bytes, ContentClass]


class ArrivingFiles:
    """``tasks`` is for the pipeline; the rest is known once it is exhausted and its tasks are done.

    ``entries``: what has no content. ``whole``: the control file and what the server gave for recovery, which are not
    stored here. ``files``: (size in bytes, CRC-32C) of every file that came.
    """

    def __init__(self, backup: BaseBackup, rules: DataDirectoryRules) -> None:
        self._backup, self._rules = backup, rules
        self._buffers = SpanBuffers()
        self._held: dict[_Group, list[SmallFile]] = {}
        self._held_bytes = 0
        self._left_out_directories: set[bytes] = set()
        self._paths: set[bytes] = set()
        self._lock = threading.Lock()
        self.entries: list[Entry] = []
        self.whole: dict[bytes, tuple[Entry, bytes]] = {}
        self.files: dict[bytes, tuple[int, int]] = {}
        self.left_out: set[bytes] = set()

    def received(self, path: bytes, size: int, crc32c: int) -> None:
        """Note a file that is stored (a Recipient). VerificationError when it was sent before."""
        with self._lock:
            self._require_new(path)
            self.files[path] = (size, crc32c)

    def tasks(self) -> Iterator[Task]:
        """Yield tasks as their content comes; errors as in ``BaseBackup.members``."""
        for header in self._backup.members():
            yield from self._directories_done(os.path.dirname(header.path))
            if self._is_left_out(header):
                continue
            entry = to_entry(header)
            if header.kind is not MemberKind.FILE:
                self._add(entry)
            elif header.path in _KEPT_WHOLE:
                self._keep(entry)
            elif header.size > BUNDLE_FILE_BYTES:
                yield from self._large(FileSource(entry, b"", content_class(entry.path)))
            else:
                yield from self._small(FileSource(entry, b"", content_class(entry.path)))
        for group in list(self._held):
            yield from self._bundles(group)

    def _add(self, entry: Entry) -> None:
        """Add what has no content."""
        with self._lock:
            self._require_new(entry.path)
            self._paths.add(entry.path)
        self.entries.append(entry)

    def _require_new(self, path: bytes) -> None:
        if path in self.files or path in self._paths:
            raise VerificationError(f"the server sent {path!r} twice", hint="run the backup again")

    def _is_left_out(self, header: TarHeader) -> bool:
        directory, name = os.path.split(header.path)
        if directory not in self._left_out_directories and name not in self._rules.left_out(directory, [name]):
            return False
        if header.path in _KEPT_WHOLE:
            return False
        if header.kind is MemberKind.DIRECTORY:
            self._left_out_directories.add(header.path)
        else:
            self.left_out.add(header.path)
        return True

    def _keep(self, entry: Entry) -> None:
        if entry.size > _KEPT_LIMIT_BYTES:
            raise VerificationError(
                f"the server sent {entry.path!r} of {entry.size} bytes, which it never is",
                hint="see what answers in the server's place, then run the backup again",
            )
        content = self._content(entry.size)
        self.received(entry.path, entry.size, crc32c(content))
        self.whole[entry.path] = (entry, bytes(content))

    def _content(self, size: int) -> bytearray:
        content = bytearray(size)
        self._backup.read_into(memoryview(content))
        return content

    # -- large files

    def _large(self, source: FileSource) -> Iterator[Task]:
        file = ArrivingFile(source, self, self._buffers)
        if source.content_class is ContentClass.FILE:
            yield from self._cut_by_content(file, source.entry.size)
            return
        for offset in range(0, source.entry.size, SPAN_BYTES):
            length = min(SPAN_BYTES, source.entry.size - offset)
            buffer = self._buffers.take()
            self._backup.read_into(buffer[:length])
            if source.content_class is ContentClass.RELATION:
                yield file.pages_span(offset, length, buffer)
            else:
                yield file.span(offset, list(fixed_cuts(length)), buffer, is_last=offset + length == source.entry.size)

    def _cut_by_content(self, file: ArrivingFile, size: int) -> Iterator[Task]:
        """Yield spans that end at the last sure cut of a buffer; what follows it is cut again with what comes next."""
        offset, carried = 0, b""
        while offset < size:
            length = min(SPAN_BYTES, size - offset)
            buffer = self._buffers.take()
            buffer[: len(carried)] = carried
            self._backup.read_into(buffer[len(carried) : length])
            cuts = list(content_cuts(buffer[:length]))
            is_last = offset + length == size
            if len(cuts) > 1 and not is_last:
                cuts.pop()
            kept = cuts[-1][0] + cuts[-1][1]
            carried = bytes(buffer[kept:length])
            yield file.span(offset, cuts, buffer, is_last=is_last)
            offset += kept

    # -- small files

    def _small(self, source: FileSource) -> Iterator[Task]:
        small = SmallFile(source, self._content(source.entry.size))
        self._held.setdefault((os.path.dirname(source.entry.path), source.content_class), []).append(small)
        self._held_bytes += len(small.content)
        if self._held_bytes > _HELD_BYTES:
            yield from self._bundles(max(self._held, key=self._weight))

    def _weight(self, group: _Group) -> int:
        return sum(len(file.content) for file in self._held[group])

    def _directories_done(self, present: bytes) -> Iterator[Task]:
        """Yield the bundles of directories that nothing more comes of: an archive goes through one after the other."""
        for group in [each for each in self._held if not _is_at_or_above(each[0], present)]:
            yield from self._bundles(group)

    def _bundles(self, group: _Group) -> Iterator[Task]:
        files = sorted(self._held.pop(group), key=lambda file: file.source.entry.path)
        self._held_bytes -= sum(len(file.content) for file in files)
        for first, end in bundle_cuts([len(file.content) for file in files]):
            yield BundleTask(files[first:end], self)


def to_entry(header: TarHeader) -> Entry:
    """Return the entry of a member of an archive, without its content."""
    return Entry(
        path=header.path,
        kind=_KINDS[header.kind],
        mode=header.mode,
        uid=header.uid,
        gid=header.gid,
        user=header.user,
        group=header.group,
        mtime_ns=storable_time(header.mtime_s * 1_000_000_000),
        ctime_ns=0,
        inode=0,
        size=header.size,
        link=header.link,
    )


def _is_at_or_above(directory: bytes, other: bytes) -> bool:
    return not directory or directory == other or other.startswith(directory + b"/")
