"""The storage that lives in this process: the plainest reading of the contract, for tests and trials of the engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import AlreadyExistsError, NotFoundError
from holdfast.storage.base import ObjectInfo, require_name
from holdfast.storage.ranges import resolve_range

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.storage.base import Buffer


class MemoryStorage:
    """Objects in a dictionary, gone with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}

    @property
    def url(self) -> str:
        """The location, as shown to people."""
        return "memory:"

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store a copy of ``data``; see ``Storage.put``."""
        require_name(name)
        stored = (bytes(data), clock.now())
        with self._lock:
            if must_not_exist and name in self._objects:
                raise AlreadyExistsError(f"put {name}: the object is already there")
            self._objects[name] = stored

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return a view of the stored bytes; see ``Storage.get``."""
        data, _ = self._find("get", name)
        start, count = resolve_range(name, len(data), offset, length)
        return memoryview(data)[start : start + count]

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects that were there when the listing began; see ``Storage.list``."""
        beginning = f"{require_name(prefix)}/" if prefix else ""
        with self._lock:
            found = [self._info(name) for name in self._objects if name.startswith(beginning) and name > after]
        yield from sorted(found, key=lambda info: info.name)

    def delete(self, name: str) -> None:
        """Remove an object; see ``Storage.delete``."""
        require_name(name)
        with self._lock:
            self._objects.pop(name, None)

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object; see ``Storage.stat``."""
        data, modified = self._find("stat", name)
        return ObjectInfo(name, len(data), modified)

    def _find(self, verb: str, name: str) -> tuple[bytes, datetime]:
        require_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise NotFoundError(f"{verb} {name}: no such object")
        return found

    def _info(self, name: str) -> ObjectInfo:
        data, modified = self._objects[name]
        return ObjectInfo(name, len(data), modified)
