"""The storage Protocol: five verbs over named bytes. This page is the contract; the conformance suite checks it.

A name is a relative path of ASCII letters, digits, ``-``, ``_``, ``.`` and ``/``, without empty, ``.`` or ``..``
parts. An object is whole or absent: no reader ever sees a part of one. Objects are never rewritten, so there is
no verb for that; ``put`` with ``must_not_exist=False`` may be repeated after a failure with the same bytes.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Buffer = bytes | bytearray | memoryview

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class ObjectInfo(msgspec.Struct, frozen=True):
    """What a listing or ``stat`` knows of one object: its name, length in bytes, and when it was stored (UTC)."""

    name: str
    size_bytes: int
    modified: datetime


class Storage(Protocol):
    """Named bytes. Every method may be called from many threads at once.

    Errors: NotFoundError, AlreadyExistsError, PermissionRefusedError, NoSpaceError, TransientStorageError (worth
    repeating), StorageError (anything else). Nothing of a driver's own library escapes.
    """

    @property
    def url(self) -> str:
        """The location, as shown to people: never holds a secret."""
        ...

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object whole and durably.

        Returns only when the object would survive a power cut, and its stored length (and checksum, where the
        server gives one) was compared with ``data``. With ``must_not_exist`` an object of that name is refused with
        AlreadyExistsError, atomically even against another writer. ``data`` may be reused as soon as this returns.
        """
        ...

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return ``length`` bytes from ``offset``, or all that follows it.

        A negative ``offset`` counts from the end, and then ``length`` is None. A short read is never returned: a
        range that the object does not cover raises StorageError, an absent object NotFoundError.
        """
        ...

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name starts with ``prefix`` + "/" (all, for ""), in the byte order of their names.

        Of these only what comes after ``after``, a name that need not exist; what comes before it is not looked at.
        Pages are fetched as they are consumed. An error ends the listing by raising: a listing that ends without
        an error is complete. A prefix that holds nothing yields nothing.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object. Absent objects are no error: a deletion may be repeated."""
        ...

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of one object, or raise NotFoundError."""
        ...


def is_name(text: str) -> bool:
    """Tell whether ``text`` may be the name of an object."""
    return bool(_NAME.fullmatch(text)) and not any(part in {".", ".."} for part in text.split("/"))


def require_name(name: str) -> str:
    """Return ``name`` when it is a valid object name; raise UsageError otherwise. Drivers call it first."""
    if not is_name(name):
        raise UsageError(f"not an object name: {name!r}")
    return name
