"""Keeps to a number of bytes a second, up and down, however many threads there are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.storage.base import Buffer, ObjectInfo, Storage


class Allowance:
    """So many bytes a second for all who ask, in the order in which they ask. None: without limit.

    Objects are moved whole, so the allowance may be overdrawn by one object for each thread; who comes next waits
    until that is made good. The average holds; within one object the wire sets the pace.
    """

    def __init__(self, bytes_s: int | None) -> None:
        self._bytes_s = bytes_s
        self._lock = threading.Lock()
        self._free_from = clock.monotonic()

    def take(self, size_bytes: int) -> None:
        """Take ``size_bytes`` from the allowance, after waiting for what was taken before."""
        if self._bytes_s is None:
            return
        with self._lock:
            present = clock.monotonic()
            begin = max(present, self._free_from)
            self._free_from = begin + size_bytes / self._bytes_s
        if begin > present:
            clock.sleep(begin - present)


class LimitedStorage:
    """A storage that sends and receives no faster than its allowances permit."""

    def __init__(self, inner: Storage, *, up: Allowance, down: Allowance) -> None:
        self._inner = inner
        self._up = up
        self._down = down

    @property
    def url(self) -> str:
        """The location, as shown to people."""
        return self._inner.url

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object; see ``Storage.put``."""
        self._up.take(memoryview(data).nbytes)
        self._inner.put(name, data, must_not_exist=must_not_exist)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of an object; see ``Storage.get``. Paid for afterwards: only then is their number known."""
        data = self._inner.get(name, offset=offset, length=length)
        self._down.take(len(data))
        return data

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects; see ``Storage.list``."""
        return self._inner.list(prefix, after=after)

    def delete(self, name: str) -> None:
        """Remove an object; see ``Storage.delete``."""
        self._inner.delete(name)

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object; see ``Storage.stat``."""
        return self._inner.stat(name)
