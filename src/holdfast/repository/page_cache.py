"""The local cache of page hashes: one disposable file for each service and repository.

It belongs to one snapshot, which is written into it: hashes are believed only by a backup whose parent is that very
snapshot, and only for a file that the snapshot has with the same size, time and inode. A backup drops a parent of
another cluster, timeline, version or checksum setting, and so its cache. Each file's hashes carry a checksum, and so
does the table of them: what is torn or altered is not used. Deleting the cache costs the next backup time and some
room, and never a page.

Bytes: "HFPAGES1", the hashes of each file back to back (u64, little-endian), the table (MessagePack), and at the end
the table's length and XXH3 (u64 each).
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from holdfast.repository.manifest import Entry
    from holdfast.repository.page_hash import Hashes

_MAGIC = b"HFPAGES1"
_FOOTER = struct.Struct("<QQ")
_HASH_BYTES = 8


def page_cache_name(stack: str, service: str) -> str:
    """Return the name of a service's cache beside the other cached objects of a repository."""
    return f"pages/{xxh3_128_hexdigest(msgspec.json.encode((stack, service)))}"


class _Section(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One file: as the snapshot's entry has it, and where its hashes lie."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int
    offset: int
    checksum: int

    def is_of(self, entry: Entry) -> bool:
        """Whether the file is the very one of an entry."""
        return (self.size, self.mtime_ns, self.inode) == (entry.size, entry.mtime_ns, entry.inode)


class _Table(msgspec.Struct, array_like=True, frozen=True):
    """Whose hashes these are; ``hinted_since_s`` as in PageCache."""

    snapshot: str
    page_bytes: int
    seed: int
    hinted_since_s: float
    sections: tuple[_Section, ...]


class PageCache:
    """An existing cache; used by many threads.

    ``hinted_since_s``: when pages were first left unread on a hint's word since all were read (seconds of the epoch); 0
    when none were.
    """

    def __init__(self, path: Path, table: _Table) -> None:
        self.hinted_since_s = table.hinted_since_s
        self.seed, self._page_bytes, self._path = table.seed, table.page_bytes, path
        self._sections = {section.path: section for section in table.sections}

    @staticmethod
    def open(path: Path, snapshot: str, page_bytes: int) -> PageCache | None:
        """Return the cache of a snapshot, None when there is none, or a damaged or another one's."""
        try:
            with path.open("rb", buffering=0) as file:
                table = _read_table(file.fileno())
        except OSError:
            return None
        if table is None or (table.snapshot, table.page_bytes) != (snapshot, page_bytes):
            return None
        return PageCache(path, table)

    def hashes(self, entry: Entry) -> Hashes | None:
        """Return the hashes of a file as the snapshot has it, by page; None when they are not there or not sound."""
        try:
            for _, raw, checksum in self.stored([entry]):
                return np.frombuffer(raw, dtype="<u8") if xxh3_64_intdigest(raw) == checksum else None
        except (OSError, ValueError):
            return None
        return None

    def stored(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes, int]]:
        """Yield each file whose hashes are there, with their bytes and checksum, unproven. Raises OSError."""
        with self._path.open("rb", buffering=0) as file:
            for entry in entries:
                section = self._sections.get(entry.path)
                if section is not None and section.is_of(entry):
                    length = -(-entry.size // self._page_bytes) * _HASH_BYTES
                    yield entry, os.pread(file.fileno(), length, section.offset), section.checksum


def _read_table(descriptor: int) -> _Table | None:
    try:
        end = os.fstat(descriptor).st_size - _FOOTER.size
        if end < len(_MAGIC) or os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
            return None
        length, checksum = _FOOTER.unpack(os.pread(descriptor, _FOOTER.size, end))
        if length > end:
            return None
        raw = os.pread(descriptor, length, end - length)
        return msgspec.msgpack.decode(raw, type=_Table) if xxh3_64_intdigest(raw) == checksum else None
    except (OSError, msgspec.MsgspecError):
        return None


class PageCacheWriter:
    """Writes the next cache beside the present one; nothing is put in place before ``commit``.

    A disk that is full, or a directory that cannot be written, is no error of the backup: then there is no new cache.
    """

    def __init__(self, path: Path, page_bytes: int, seed: int) -> None:
        self._path, self._page_bytes, self._seed = path, page_bytes, seed
        self._new = path.with_name(path.name + ".new")
        self._sections: list[_Section] = []
        self._end = len(_MAGIC)
        self._lock = threading.Lock()
        self._failure: OSError | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self._new, "wb", opener=_open_private) as file:
                file.write(_MAGIC)
        except OSError as error:
            self._failure = error

    def add(self, entry: Entry, hashes: Hashes) -> None:
        """Write the hashes of a file, as the snapshot will have it."""
        raw = hashes.astype("<u8").tobytes()
        self._append(entry, raw, xxh3_64_intdigest(raw))

    def copy(self, cache: PageCache, entries: Iterable[Entry]) -> None:
        """Take over the hashes of files that were taken from the parent; what is damaged stays so, and is noticed."""
        try:
            for entry, raw, checksum in cache.stored(entries):
                self._append(entry, raw, checksum)
        except OSError as error:
            self._failure = error

    def commit(self, snapshot: str, hinted_since_s: float) -> OSError | None:
        """Put the cache in place as that of a snapshot; return what went wrong, if anything did."""
        whose = _Table(snapshot, self._page_bytes, self._seed, hinted_since_s, tuple(self._sections))
        table = msgspec.msgpack.encode(whose)
        self._write(table + _FOOTER.pack(len(table), xxh3_64_intdigest(table)), self._end)
        if self._failure is None:
            try:
                self._new.replace(self._path)
            except OSError as error:
                self._failure = error
        return self._failure

    def _append(self, entry: Entry, raw: bytes, checksum: int) -> None:
        with self._lock:
            offset, self._end = self._end, self._end + len(raw)
            self._sections.append(_Section(entry.path, entry.size, entry.mtime_ns, entry.inode, offset, checksum))
        self._write(raw, offset)

    def _write(self, raw: bytes, offset: int) -> None:
        if self._failure is not None:
            return
        try:
            with open(self._new, "r+b", buffering=0) as file:
                if os.pwrite(file.fileno(), raw, offset) != len(raw):
                    self._failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failure = error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
