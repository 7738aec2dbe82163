"""The storage in an object store: S3 and what speaks like it; Google's and Azure's by the same library, obstore.

An object is always sent in one conditional request, never in parts: the whole of it is under one signature, the
server refuses a taken name by itself, and there is no second request whose failure could hide in a "200 OK".
What it then holds is asked for before the object counts as stored.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import TYPE_CHECKING

import obstore

from holdfast.errors import NotFoundError, StorageError, TransientStorageError
from holdfast.storage.base import ObjectInfo, is_name, require_name
from holdfast.storage.comparing import holds_same
from holdfast.storage.object_errors import RangeRefusedError, translated
from holdfast.storage.ranges import not_covered, require_range, resolve_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

    from holdfast.storage.base import Buffer

_PAGE = 1000  # what S3 lists in one request at most: API reference, ListObjectsV2
_NOT_S3 = "the object store, or a proxy before it, does not answer as S3 does: see its log"
_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')


class ObjectsStorage:
    """Objects of a bucket beneath a prefix, given as an obstore store and the URL to show."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url
        self._etag_may_be_md5 = True

    @property
    def url(self) -> str:
        """The location, as shown to people."""
        return self._url

    def put(self, name: str, data: Buffer, *, must_not_exist: bool = True) -> None:
        """Store an object, and compare what the server then holds; see ``Storage.put``."""
        require_name(name)
        view = memoryview(data).cast("B")
        with translated(f"put {name}"):
            obstore.put(self._store, name, view, mode="create" if must_not_exist else "overwrite", use_multipart=False)
        self._verify(name, view)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> Buffer:
        """Return a view of the bytes as obstore received them; see ``Storage.get``."""
        require_name(name)
        require_range(offset, length)
        if length == 0:
            resolve_range(name, self.stat(name).size_bytes, offset, length)
            return b""
        if offset == 0 and length is None:
            return self._get_whole(name)
        return self._get_range(name, offset, length)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in the order of their names; see ``Storage.list``.

        obstore takes any "200 OK" for a page, also a proxy's web page or an error in the body, and finds no objects in
        it. So the end is asked for a second time: it must begin with the object that was the last one.
        """
        if prefix:
            require_name(prefix)
        before_last: str | None = after or None
        last: str | None = None
        for asked in itertools.count(1):
            wanted, fresh = last, 0
            for info in self._list_after(before_last, prefix):
                if info.name == wanted:
                    wanted = None
                elif last is None or info.name > last:
                    before_last, last, fresh = last, info.name, fresh + 1
                    if is_name(info.name):
                        yield info
            if wanted is not None:
                raise TransientStorageError(
                    f"list {prefix or self.url}: asked again, the server shows another end",
                    hint="the object store does not list reliably: look at its log, and try again",
                )
            if asked > 1 and not fresh:
                return

    def delete(self, name: str) -> None:
        """Remove an object; see ``Storage.delete``."""
        require_name(name)
        try:
            with translated(f"delete {name}"):
                obstore.delete(self._store, name)
        except NotFoundError:
            pass  # Google's and Azure's stores say so, S3 does not

    def stat(self, name: str) -> ObjectInfo:
        """Return what the server knows of one object; see ``Storage.stat``."""
        return _info(name, self._head("stat", require_name(name)))

    def _list_after(self, after: str | None, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is there whose name comes after ``after``; what breaks the order of names is an error."""
        last = after or ""
        with translated(f"list {prefix or self.url}"):
            for page in obstore.list(self._store, prefix or None, offset=after, chunk_size=_PAGE):
                for found in page:
                    if found["path"] <= last:
                        raise StorageError(f"list {prefix or self.url}: the server lists out of order")
                    last = found["path"]
                    yield _info(last, found)

    def _head(self, verb: str, name: str) -> ObjectMeta:
        with translated(f"{verb} {name}"):
            return obstore.head(self._store, name)

    def _get_whole(self, name: str) -> memoryview:
        with translated(f"get {name}"):
            answer = obstore.get(self._store, name)
            data = memoryview(answer.bytes())
        return _require_length(name, data, answer.meta["size"])

    def _get_range(self, name: str, offset: int, length: int | None) -> Buffer:
        try:
            with translated(f"get {name}"):
                answer = obstore.get(self._store, name, options=_range_option(offset, length))
                data = memoryview(answer.bytes())
        except RangeRefusedError:
            return self._explain_refused_range(name, offset, length)
        start, count = resolve_range(name, answer.meta["size"], offset, length)
        if answer.range[0] != start:
            raise StorageError(f"get {name}: the server sent another range than the wanted one", hint=_NOT_S3)
        return _require_length(name, data, count)

    def _explain_refused_range(self, name: str, offset: int, length: int | None) -> bytes:
        """Servers refuse an empty range, which our contract knows: nothing is left after the last byte."""
        if self.stat(name).size_bytes == offset and length is None:
            return b""
        raise not_covered(name, offset, length)

    def _verify(self, name: str, data: memoryview) -> None:
        """Raise unless the server holds an object of this length, and these bytes as far as its ETag can tell."""
        try:
            stored = self._head("put", name)
        except NotFoundError:
            # An error may hide in the body of a "200 OK": AWS documents it for requests that take long.
            raise TransientStorageError(
                f"put {name}: acknowledged by the server, and not there", hint="look at the object store's log"
            ) from None
        if stored["size"] != len(data):
            raise StorageError(
                f"put {name}: the server holds {stored['size']} bytes of {len(data)}",
                hint="the object store does not keep what it acknowledges: do not trust it with backups",
            )
        etag = _MD5_ETAG.fullmatch(stored["e_tag"] or "")
        if etag and self._etag_may_be_md5 and etag[1] != hashlib.md5(data, usedforsecurity=False).hexdigest():
            self._compare(name, data)

    def _compare(self, name: str, data: memoryview) -> None:
        """Read an object back whose ETag is not the MD5 of its bytes: the ETag of an encrypted bucket never is.

        AWS, "Checking object integrity": with SSE-KMS or SSE-C the ETag is no digest of the data. Then ETags of this
        store say nothing, and are not asked again.
        """
        if not holds_same(self, name, data):
            raise StorageError(
                f"put {name}: the server holds other bytes than were sent",
                hint="the object store does not keep what it acknowledges: do not trust it with backups",
            )
        self._etag_may_be_md5 = False


def _info(name: str, found: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(name, found["size"], found["last_modified"])


def _range_option(offset: int, length: int | None) -> GetOptions:
    if offset < 0:
        return {"range": {"suffix": -offset}}
    if length is None:
        return {"range": {"offset": offset}}
    return {"range": (offset, offset + length)}


def _require_length(name: str, data: memoryview, count: int) -> memoryview:
    if len(data) != count:
        raise StorageError(f"get {name}: {len(data)} bytes of {count} arrived", hint=_NOT_S3)
    return data
