"""Shipping what the server will ask for next: several files at once, as one alone leaves most of the machine idle.

Two servers with one past may write into one archive, by mistake. The first file of which the archive has other bytes
ends what they share: the server itself would come no further than this file, and nothing that it wrote later may be
shipped ahead of it, under names that the other server has yet to come to. So files go one by one as long as the archive
has them already, and together behind one that was new.
"""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, StorageError, VerificationError
from holdfast.repository.crew import Crew
from holdfast.wal.archive import Pushed, WalConflictError
from holdfast.wal.names import WalFileKind, kind_of
from holdfast.wal.ready import is_written_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


def is_barred(path: str, refused: Mapping[str, HoldfastError]) -> bool:
    """Whether a file was written after one that was refused because the archive has other bytes of it."""
    name = os.path.basename(path)
    return any(
        isinstance(error, WalConflictError) and is_written_after(name, os.path.basename(other))
        for other, error in refused.items()
    )


class Batch:
    """One batch of files in the server's order, shipped ahead in threads.

    A file that is refused does not stop the others, unless the archive has other bytes of it; a storage does.
    """

    def __init__(self, shipper: Shipper, threads: int) -> None:
        self._shipper, self._threads = shipper, threads
        self._lock = threading.Lock()
        self.shipped: list[Shipped] = []
        self.refused: dict[str, HoldfastError] = {}

    def ship(self, paths: Iterator[str]) -> None:
        """Ship and acknowledge; StorageError ends the batch, what else goes wrong with a file is in ``refused``."""
        do: Callable[[str], None] = self._ship_one
        allowed = (path for path in paths if not is_barred(path, self.refused))
        Crew("wal", 1, lambda: nullcontext(do)).work_off(self._up_to_new(allowed))
        Crew("wal", self._threads, lambda: nullcontext(do)).work_off(allowed)

    def _up_to_new(self, paths: Iterator[str]) -> Iterator[str]:
        """Yield paths up to the first that the archive did not have; it is asked for the next when one is done."""
        for path in paths:
            yield path
            last = self.shipped[-1] if self.shipped else None
            if last is not None and last.outcome is Pushed.NEW and kind_of(last.name) is not WalFileKind.HISTORY:
                return

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
