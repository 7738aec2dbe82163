"""Whether a stored object is the very bytes that were sent: compared part by part, as an object may have a gigabyte.

Fetched whole it would lie in memory beside what was sent; and comparing so much at once would stop every other thread
for seconds, among them the one that keeps the memory of a large object small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.storage.base import Storage

_PART_BYTES = 16 << 20


def holds_same(storage: Storage, name: str, data: memoryview) -> bool:
    """Whether the object ``name`` is ``data``, to the last byte. NotFoundError, StorageError."""
    if storage.stat(name).size_bytes != len(data):
        return False
    return all(_holds_part(storage, name, at, data[at : at + _PART_BYTES]) for at in range(0, len(data), _PART_BYTES))


def _holds_part(storage: Storage, name: str, at: int, part: memoryview) -> bool:
    # Bytes are compared all at once, views item by item.
    return bytes(storage.get(name, offset=at, length=len(part))) == bytes(part)
