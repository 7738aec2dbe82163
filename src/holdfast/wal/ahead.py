"""Shipping what the server will ask for next: several files at once, as one alone leaves most of the machine idle."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, StorageError, VerificationError
from holdfast.repository.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.wal.settings import WalSettings
    from holdfast.wal.ship import Shipped, Shipper

_MEMORY_BYTES = 160 << 20
_SEGMENTS_A_FILE = 2
"""What one file in work occupies: its content, and at most as much again sealed."""


def threads_for(settings: WalSettings) -> int:
    """Return how many files may be in work at once: one more than compute, as one of them waits for the disk.

    Memory stays bounded whatever the size of a segment.
    """
    return max(1, min(settings.threads + 1, _MEMORY_BYTES // (_SEGMENTS_A_FILE * settings.segment_size)))


def within(paths: list[str], seconds: float) -> Iterator[str]:
    """Yield paths until the time is over."""
    deadline = clock.monotonic() + seconds
    for path in paths:
        if clock.monotonic() > deadline:
            return
        yield path


class Batch:
    """One batch of files, shipped ahead in threads. A file that is refused does not stop the others; a storage does."""

    def __init__(self, shipper: Shipper, threads: int) -> None:
        self._shipper, self._threads = shipper, threads
        self._lock = threading.Lock()
        self.shipped: list[Shipped] = []
        self.refused: dict[str, HoldfastError] = {}

    def ship(self, paths: Iterator[str]) -> None:
        """Ship and acknowledge; StorageError ends the batch, what else goes wrong with a file is in ``refused``."""
        do: Callable[[str], None] = self._ship_one
        Crew("wal", self._threads, lambda: nullcontext(do)).work_off(paths)

    def _ship_one(self, path: str) -> None:
        try:
            shipped = self._shipper.ship_ahead(path)
        except StorageError:
            raise
        except HoldfastError as error:
            if os.path.exists(path) or isinstance(error, VerificationError):
                with self._lock:
                    self.refused[path] = error
            return  # else: the server was answered by another process, and has removed the file
        with self._lock:
            self.shipped.append(shipped)
