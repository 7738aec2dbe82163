"""Backups of a stopped cluster: the files hold still, so that a snapshot can be compared with what was there.

The server's own part (start, stop, WAL) is left out; everything else is what a backup of a running cluster does: the
choice of the parent, of the files, the hashes, and what is committed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from tests.unit.repository.building import make_plain_repository
from tests.unit.repository.page_chain import assert_equal_pages

from holdfast.backup.run import BackupOptions, run_backup
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.server import BackupEnd
from holdfast.progress import Silence
from holdfast.repository.cache import ObjectCache
from holdfast.repository.crew import no_pulse
from holdfast.repository.file_extents import load_extents
from holdfast.repository.manifest import EntryKind
from holdfast.repository.opening import open_repository
from holdfast.services.postgres.capture import usable_parent
from holdfast.services.postgres.collection import Collection
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.postgres.facts import ServerFacts
    from holdfast.progress import Reporter
    from holdfast.repository.parent import Parent
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.repository.writer import Writer
    from holdfast.services.base import Captured, Service

_CHUNKS_KEPT = 64


@dataclass(frozen=True)
class FrozenCluster:
    """A stopped cluster as a Service; ``facts`` are what it said of itself while it ran."""

    root: Path
    facts: ServerFacts
    kind: str = "postgres"
    promises: str = "nothing"

    def capture(self, writer: Writer, parent: Parent, reporter: Reporter) -> Captured:
        """Capture everything but WAL."""
        collection = Collection(writer, usable_parent(parent, self.facts, reporter), self.facts, self.root, reporter)
        collection.capture_files((), no_pulse)
        end = BackupEnd(Lsn(1), b"", b"", datetime.now(UTC))
        captured = collection.result(Lsn(0), end, [], {})
        return replace(captured, entries=[entry for entry in captured.entries if entry.path != b"backup_label"])


@dataclass
class FrozenChain:
    """Backs a stopped cluster up into a repository of its own, and proves each snapshot to be what is on disk."""

    cache: Path
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    snapshots: list[Snapshot] = field(default_factory=list)
    reporter: Reporter = field(default_factory=Silence)

    def __post_init__(self) -> None:
        make_plain_repository(self.storage)

    @property
    def page_caches(self) -> list[Path]:
        """The files with hashes of pages."""
        return [path for path in self.cache.rglob("pages/*") if not path.name.endswith(".new")]

    def back_up(self, root: Path, facts: ServerFacts) -> Snapshot:
        """Back up a stopped cluster on top of the last snapshot; every page that it holds must be the one on disk."""
        snapshot = self.take(FrozenCluster(root, facts))
        self.require_as_on_disk(snapshot, root, lambda _: True)
        return snapshot

    def take(self, service: Service) -> Snapshot:
        """Back up on top of the last snapshot."""
        self.snapshots.append(run_backup(self._open(), service, BackupOptions("shop", "db"), self.reporter))
        assert self.snapshots[-1].is_complete
        return self.snapshots[-1]

    def require_as_on_disk(self, snapshot: Snapshot, root: Path, is_compared: Callable[[bytes], bool]) -> None:
        """Compare every file whose path is to be compared, page by page."""
        for path, content in self.contents(snapshot, is_compared):
            assert_equal_pages(path, content, (root / os.fsdecode(path)).read_bytes())

    def contents(self, snapshot: Snapshot, is_wanted: Callable[[bytes], bool]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the content of the files whose paths are wanted, as a snapshot has them."""
        repository = self._open()
        reader = repository.reader()
        read = lru_cache(_CHUNKS_KEPT)(reader.read)
        files = [entry for entry in repository.entries(reader, snapshot) if entry.kind is EntryKind.FILE]
        assert len(files) > 100
        for entry in (each for each in files if is_wanted(each.path)):
            content = np.zeros(entry.size, dtype=np.uint8)
            for offset, length, start, chunk in load_extents(entry, read).tolist():
                content[offset : offset + length] = np.frombuffer(read(chunk), dtype=np.uint8)[start : start + length]
            yield entry.path, content.tobytes()

    def _open(self) -> Repository:
        return open_repository(self.storage, None, lambda name: ObjectCache(self.cache, name))
