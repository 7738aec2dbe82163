"""Reads the files of the WAL archive: whole as they were stored, or opened down to their content.

Whether segments are missing is not for a check to say: that depends on what recovery needs (``holdfast wal status``).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from holdfast.errors import DamageError, NotFoundError
from holdfast.repository.check.report import DamageKind
from holdfast.repository.check.sample import choose
from holdfast.repository.walfile import WAL_PREFIX
from holdfast.repository.walread import StoredWalFile

if TYPE_CHECKING:
    from datetime import date

    from holdfast.progress import Reporter
    from holdfast.repository.check.report import Findings
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import ObjectInfo, Storage

_READING_AT_ONCE = min(4, os.cpu_count() or 1)


@dataclass
class WalCounts:
    """How many files the archives have, and how many of them were read and opened."""

    files: int = 0
    read: int = 0
    opened: int = 0


class WalChecker:
    """Checks the WAL files of every cluster in the repository."""

    def __init__(self, storage: Storage, keys: Keys, findings: Findings, reporter: Reporter) -> None:
        self._storage, self._keys, self._findings, self._reporter = storage, keys, findings, reporter
        self._lock = threading.Lock()
        self.counts = WalCounts()

    def check(self, read_percent: int, open_percent: int, today: date) -> None:
        """List all, read and open today's samples; what is wrong goes to the findings."""
        infos = {blake3(info.name.encode()).hexdigest(16): info for info in self._storage.list(WAL_PREFIX)}
        self.counts.files = len(infos)
        opened = choose(infos, open_percent, today)
        chosen = sorted(choose(infos, read_percent, today) | opened, key=lambda digest: infos[digest].name)
        if not chosen:
            return
        self._reporter.phase("reading WAL", total_bytes=sum(infos[digest].size_bytes for digest in chosen))
        with ThreadPoolExecutor(_READING_AT_ONCE, thread_name_prefix="check-wal") as pool:
            for error in pool.map(lambda digest: self._examine(infos[digest], opens=digest in opened), chosen):
                if error is not None:
                    self._findings.add(DamageKind.WAL_FILE, error.object_name, error.reason)

    def _examine(self, info: ObjectInfo, *, opens: bool) -> DamageError | None:
        try:
            stored = StoredWalFile(self._storage, self._keys, info.name, info.size_bytes)
            frames = stored.opened(stored.proven()) if opens else stored.proven()
            deque(frames, maxlen=0)
        except NotFoundError:
            return None  # a piece, replaced by its segment since it was listed: whether WAL is missing, status says
        except DamageError as error:
            return error
        finally:
            self._reporter.advance(info.size_bytes)
            with self._lock:
                self.counts.read += 1
                self.counts.opened += opens
        return None
