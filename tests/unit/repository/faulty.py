"""Storages that fail or lie, as real ones do: wrappers of the storage contract for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from holdfast.errors import NoSpaceError, TransientStorageError
from holdfast.storage.base import Buffer, ObjectInfo
from holdfast.storage.memory import MemoryStorage


class FullStorage(MemoryStorage):
    """Full: refuses packs after a number of them, and nothing else."""

    def __init__(self, packs: int) -> None:
        super().__init__()
        self.packs_left = packs
        self._counting = threading.Lock()

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store, or refuse."""
        if name.startswith("packs/"):
            with self._counting:
                self.packs_left -= 1
                if self.packs_left < 0:
                    raise NoSpaceError(f"put {name}: no space left")
        super().put(name, data, must_not_exist=must_not_exist)


class BitFlippingStorage(MemoryStorage):
    """Stores every pack with one bit flipped, and says that all is well."""

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store something else."""
        if name.startswith("packs/"):
            spoilt = bytearray(data)
            spoilt[len(spoilt) // 2] ^= 0x10
            data = spoilt
        super().put(name, data, must_not_exist=must_not_exist)


class BrokenListing(MemoryStorage):
    """Its listings of one prefix end in an error after their first object."""

    broken_prefix = ""

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield one object, then raise."""
        for info in super().list(prefix, after=after):
            yield info
            if self.broken_prefix and prefix.startswith(self.broken_prefix):
                raise TransientStorageError(f"list {prefix}: the connection was lost")
