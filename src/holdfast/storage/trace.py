"""Counts what is asked of a storage: the facts from which a cost report is made."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from holdfast import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.storage.base import Buffer, ObjectInfo, Storage


class Verb(Enum):
    """One of the five things that can be asked of a storage."""

    PUT = "put"
    GET = "get"
    LIST = "list"
    DELETE = "delete"
    STAT = "stat"


@dataclass(frozen=True, slots=True)
class VerbCount:
    """What was asked by one verb so far.

    ``requests`` includes the ``failures``; ``moved_bytes`` are object bytes sent or received; ``listed`` counts the
    objects that listings yielded; ``elapsed_s`` adds up over threads.
    """

    requests: int = 0
    failures: int = 0
    moved_bytes: int = 0
    listed: int = 0
    elapsed_s: float = 0.0


class Tally:
    """The counts of all verbs, shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Verb, VerbCount())

    def add(self, verb: Verb, more: VerbCount) -> None:
        """Add to the counts of a verb."""
        with self._lock:
            old = self._counts[verb]
            self._counts[verb] = VerbCount(
                requests=old.requests + more.requests,
                failures=old.failures + more.failures,
                moved_bytes=old.moved_bytes + more.moved_bytes,
                listed=old.listed + more.listed,
                elapsed_s=old.elapsed_s + more.elapsed_s,
            )

    def snapshot(self) -> Mapping[Verb, VerbCount]:
        """Return the counts as they are now."""
        with self._lock:
            return dict(self._counts)


class TracedStorage:
    """A storage whose every request is counted in a tally."""

    def __init__(self, inner: Storage, tally: Tally) -> None:
        self._inner = inner
        self._tally = tally

    @property
    def url(self) -> str:
        """The location, as shown to people."""
        return self._inner.url

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object; see ``Storage.put``."""
        with self._counted(Verb.PUT):
            self._inner.put(name, data, must_not_exist=must_not_exist)
        self._tally.add(Verb.PUT, VerbCount(moved_bytes=memoryview(data).nbytes))

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of an object; see ``Storage.get``."""
        with self._counted(Verb.GET):
            data = self._inner.get(name, offset=offset, length=length)
        self._tally.add(Verb.GET, VerbCount(moved_bytes=len(data)))
        return data

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects; the time of who consumes them is not counted; see ``Storage.list``."""
        with self._counted(Verb.LIST):
            listing = self._inner.list(prefix, after=after)
        while True:
            with self._timed(Verb.LIST):
                info = next(listing, None)
            if info is None:
                return
            self._tally.add(Verb.LIST, VerbCount(listed=1))
            yield info

    def delete(self, name: str) -> None:
        """Remove an object; see ``Storage.delete``."""
        with self._counted(Verb.DELETE):
            self._inner.delete(name)

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object; see ``Storage.stat``."""
        with self._counted(Verb.STAT):
            return self._inner.stat(name)

    @contextmanager
    def _counted(self, verb: Verb) -> Iterator[None]:
        self._tally.add(verb, VerbCount(requests=1))
        with self._timed(verb):
            yield

    @contextmanager
    def _timed(self, verb: Verb) -> Iterator[None]:
        begin = clock.monotonic()
        done = VerbCount(failures=1)
        try:
            yield
            done = replace(done, failures=0)
        finally:
            self._tally.add(verb, replace(done, elapsed_s=clock.monotonic() - begin))
