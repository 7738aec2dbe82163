"""Repeats what failed in a way that may pass: jittered waits that grow, bounded by a deadline.

Every verb may be repeated: reading and deleting by their nature, and ``put`` because objects are never rewritten. Only
a ``put`` that must not find the object needs care: the failed attempt may have stored it, and only its answer was lost.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from holdfast import clock
from holdfast.errors import AlreadyExistsError, TransientStorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.storage.base import Buffer, ObjectInfo, Storage

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0


class _Patience:
    """How long one piece of work is still tried; the deadline counts from its first failure."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._failed_first: float | None = None
        self._ceiling_s = _FIRST_WAIT_S
        self.failures = 0

    def wait(self, error: TransientStorageError) -> None:
        """Sleep before the next attempt, or raise ``error`` when that would come after the deadline.

        "Full jitter": any wait up to a ceiling that doubles, so that many writers do not come back together.
        """
        self.failures += 1
        present = clock.monotonic()
        if self._failed_first is None:
            self._failed_first = present
        wait_s = self._ceiling_s * int.from_bytes(os.urandom(4), "big") / 2**32
        self._ceiling_s = min(self._ceiling_s * 2, _LONGEST_WAIT_S)
        if present + wait_s > self._failed_first + self._deadline_s:
            raise TransientStorageError(
                f"{error.message} (given up after {self.failures} attempts in {present - self._failed_first:.0f} s)",
                hint=error.hint,
            ) from error
        clock.sleep(wait_s)


class RetryingStorage:
    """A storage whose transient failures are tried again for ``deadline_s`` seconds from the first one."""

    def __init__(self, inner: Storage, deadline_s: float) -> None:
        self._inner = inner
        self._deadline_s = deadline_s

    @property
    def url(self) -> str:
        """The location, as shown to people."""
        return self._inner.url

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object; see ``Storage.put``."""
        patience = _Patience(self._deadline_s)

        def attempt() -> None:
            try:
                self._inner.put(name, data, must_not_exist=must_not_exist)
            except AlreadyExistsError:
                # Only after a failure can it be our own; and then only if it is the same to the last byte.
                if not patience.failures or not self._holds(name, data):
                    raise

        _persist(attempt, patience)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of an object; see ``Storage.get``."""
        return self._repeat(lambda: self._inner.get(name, offset=offset, length=length))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects; after a failure it begins again and passes over what was yielded; see ``Storage.list``."""
        last = ""
        patience = _Patience(self._deadline_s)
        while True:
            try:
                for info in self._inner.list(prefix, after=after):
                    if info.name > last:
                        yield info
                        last = info.name
                        patience = _Patience(self._deadline_s)
            except TransientStorageError as error:
                patience.wait(error)
            else:
                return

    def delete(self, name: str) -> None:
        """Remove an object; see ``Storage.delete``."""
        self._repeat(lambda: self._inner.delete(name))

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object; see ``Storage.stat``."""
        return self._repeat(lambda: self._inner.stat(name))

    def _repeat(self, attempt: Callable[[], T]) -> T:
        return _persist(attempt, _Patience(self._deadline_s))

    def _holds(self, name: str, data: Buffer) -> bool:
        from holdfast.storage.comparing import holds_same  # a cold push never needs it

        return holds_same(self._inner, name, memoryview(data).cast("B"))


def _persist(attempt: Callable[[], T], patience: _Patience) -> T:
    while True:
        try:
            return attempt()
        except TransientStorageError as error:
            patience.wait(error)
