"""Writing: chunks in, one snapshot out. Nothing counts until ``commit``; what was stored before serves the next run."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import StorageError, VerificationError
from holdfast.model import ChunkId, new_object_id
from holdfast.repository.compression import ContentClass, parse_compression
from holdfast.repository.frames import FrameOpener, ReadBackVerifier, SampledVerifier
from holdfast.repository.index import (
    INDEX_PREFIX,
    RECORDS_LIMIT,
    ChunkIndex,
    ChunkRecords,
    IndexedPack,
    chunk_words,
    encode_index,
)
from holdfast.repository.manifest import store_manifest
from holdfast.repository.pack import PackKind
from holdfast.repository.packer import Packer, StoredPack
from holdfast.repository.sealed import ObjectType, seal_object
from holdfast.repository.seen import SeenChunks
from holdfast.repository.snapshot import Snapshot, encode_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from holdfast.repository.keys import Keys
    from holdfast.repository.manifest import Entry
    from holdfast.repository.session import Session
    from holdfast.storage.base import Buffer, Storage


@dataclass(frozen=True)
class WriterOptions:
    """``compression``: auto, none, zstd-N. ``threads``: workers of the pipeline. ``verifies_all``: read back all."""

    compression: str = "auto"
    threads: int = (os.cpu_count() or 1) + 1
    verifies_all: bool = False


@dataclass
class WriterCounts:
    """What a run stored that was not there before."""

    chunks: int = 0
    plain_bytes: int = 0


class Writer:
    """One run's way into the repository; used by many threads, as a context manager.

    Leaving without ``commit`` still indexes the packs that are durable, so that the next run finds their chunks.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        index: ChunkIndex,
        session: Session,
        options: WriterOptions,
        *,
        page_cache: Path,
    ) -> None:
        """``page_cache``: where the hashes of the service's pages are kept between runs."""
        self.options, self.page_cache = options, page_cache
        self.counts = WriterCounts()
        self._storage, self._keys, self._index, self._session = storage, keys, index, session
        self._policy = parse_compression(options.compression)()
        self._seen = SeenChunks()
        opener = FrameOpener(keys)
        verifier = ReadBackVerifier(opener, storage) if options.verifies_all else SampledVerifier(opener)
        self._packers = {kind: Packer(storage, keys, kind, verifier, self._pack_stored) for kind in PackKind}
        self._unindexed: list[StoredPack] = []
        self._unindexed_records = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._keep_what_is_stored()
        finally:
            for packer in self._packers.values():
                packer.close()
            self._session.close()

    @property
    def stored_bytes(self) -> int:
        """Bytes of the packs stored so far."""
        return sum(packer.stored_bytes for packer in self._packers.values())

    def put(self, content_class: ContentClass, chunks: Sequence[Buffer], file: bytes = b"") -> list[ChunkId]:
        """Store chunks that the repository does not have; return their ids.

        ``file``: which large file they are from, as its compression is measured apart. A chunk is durable only after
        ``flush`` or ``commit``.
        """
        kind = PackKind.META if content_class is ContentClass.METADATA else PackKind.DATA
        ids = [self._keys.chunk_id(kind, chunk) for chunk in chunks]
        for chunk_id, chunk, is_new in zip(ids, chunks, self._claim(ids), strict=True):
            if is_new:
                packed = self._policy.compress(content_class, chunk, file)
                self._packers[kind].add(chunk_id, chunk if packed is None else packed, len(chunk))
                with self._lock:
                    self.counts.chunks += 1
                    self.counts.plain_bytes += len(chunk)
        return ids

    def put_metadata(self, chunk: bytes) -> ChunkId:
        """Store one metadata chunk."""
        return self.put(ContentClass.METADATA, [chunk])[0]

    def store_manifest(self, entries: Iterable[Entry]) -> ChunkId:
        """Store entries (sorted by path) as a manifest; return its root."""
        root = store_manifest(entries, self.put_metadata)
        crashpoint.reach(CrashPoint.MANIFEST_BUILT)
        return root

    def flush(self) -> None:
        """Make every chunk put so far durable, and findable by others."""
        for packer in self._packers.values():  # all at once: far away, each takes as long as a request and its answer
            packer.finish()
        for packer in self._packers.values():
            packer.settle()
        crashpoint.reach(CrashPoint.PACKS_FLUSHED)
        self._store_index()
        crashpoint.reach(CrashPoint.INDEX_STORED)

    def commit(self, snapshot: Snapshot) -> None:
        """Store the snapshot object: the only step that makes the backup exist. ``flush`` comes before."""
        self._storage.put(snapshot.object_name, encode_snapshot(self._keys, snapshot))
        crashpoint.reach(CrashPoint.SNAPSHOT_STORED)

    def _claim(self, ids: list[ChunkId]) -> list[bool]:
        claimed = self._seen.claim(ids)
        if len(self._index) and any(claimed):
            is_stored = self._index.lookup(chunk_words(ids)) >= 0
            return [is_new and not known for is_new, known in zip(claimed, is_stored.tolist(), strict=True)]
        return claimed

    def _pack_stored(self, stored: StoredPack) -> None:
        with self._lock:
            self._unindexed.append(StoredPack(stored.pack, stored.table.copy()))
            self._unindexed_records += len(stored.table)
            is_due = self._unindexed_records >= RECORDS_LIMIT
        if is_due:
            self._store_index()

    def _store_index(self) -> None:
        with self._lock:
            packs, self._unindexed, self._unindexed_records = self._unindexed, [], 0
        if packs:
            store_index(self._storage, self._keys, packs)

    def _keep_what_is_stored(self) -> None:
        """After a failure: index the durable packs. The storage may be what failed, so failing here is no news."""
        for packer in self._packers.values():
            packer.close()
        try:
            self._store_index()
        except (StorageError, VerificationError):
            return


def store_index(storage: Storage, keys: Keys, packs: Sequence[StoredPack]) -> None:
    """Store one index object over packs that are durable."""
    table = np.concatenate([stored.table for stored in packs])
    number = np.repeat(np.arange(len(packs), dtype="<u4"), [len(stored.table) for stored in packs])
    records = ChunkRecords(
        chunk_words(np.ascontiguousarray(table["chunk"])), number, table["offset"], table["stored"], table["plain"]
    )
    name = f"{INDEX_PREFIX}/{new_object_id()}"
    content = encode_index([IndexedPack(p.pack.ref, p.pack.length, p.pack.digest) for p in packs], records)
    storage.put(name, seal_object(keys, ObjectType.INDEX, name, content))
