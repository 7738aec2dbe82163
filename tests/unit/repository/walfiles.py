"""WAL files as objects, for tests: sealed into memory, and read back from it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from holdfast.repository.walframes import InMemory
from holdfast.repository.walread import StoredWalFile
from holdfast.repository.walseal import SealOptions, room_for, seal_wal_file
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from holdfast.repository.keys import Keys
    from holdfast.repository.walfile import Stamp
    from holdfast.storage.base import Buffer


def sealed(keys: Keys, name: str, content: Buffer, level: int = 1) -> bytearray:
    """Return the object ``name``."""
    room = memoryview(bytearray(room_for(len(content))))
    options = SealOptions(level, "2026-11-21T11:00:00.000+00:00", "host")
    return bytearray(seal_wal_file(keys, name, InMemory(content), options, room))


def stored_file(keys: Keys, name: str, stored: Buffer) -> StoredWalFile:
    """Return an object to be read."""
    storage = MemoryStorage()
    storage.put(name, stored)
    return StoredWalFile(storage, keys, name, len(stored))


def opened(keys: Keys, name: str, stored: Buffer) -> bytearray:
    """Return the content of an object."""
    return stored_file(keys, name, stored).content()


def proven(keys: Keys, name: str, stored: Buffer) -> Stamp:
    """Return the stamp of an object of which every byte was compared."""
    file = stored_file(keys, name, stored)
    deque(file.proven(), maxlen=0)
    return file.stamp
