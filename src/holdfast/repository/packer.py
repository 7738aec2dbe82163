"""Fills packs: many threads seal their chunks straight into one shared buffer, and full packs are stored meanwhile.

A thread reserves a place under the lock (which gives the frame its offset, and so its nonce), then seals into that
place outside the lock. A full pack is closed by whoever finishes last in it. At most ``_STORING_AT_ONCE`` packs are
on their way to the storage; the next one waits, so memory stays bounded whatever the storage's speed.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from blake3 import blake3

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.model import new_object_id
from holdfast.repository.buffers import large_buffer
from holdfast.repository.crypto import TAG_BYTES
from holdfast.repository.index import IndexedPack
from holdfast.repository.pack import (
    PACK_BYTES,
    PACK_LIMIT_BYTES,
    TABLE_DTYPE,
    Frame,
    FrameCipher,
    PackHeader,
    PackKind,
    PackRef,
    new_pack,
    seal_trailer,
    trailer_bytes_limit,
)

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer, Storage

_STORING_AT_ONCE = 2
_FRAMES_AT_FIRST = 4096


@dataclass(frozen=True)
class StoredPack:
    """A pack that is durable, with its table (TABLE_DTYPE, by offset)."""

    pack: IndexedPack
    table: np.ndarray


class PackVerifier(Protocol):
    """Opens a pack again after it was put and before it is acknowledged."""

    def verify(self, stored: StoredPack, content: Buffer, cipher: FrameCipher) -> None:
        """Raise VerificationError when a chunk does not come back as it went in; ``content`` is what was put."""
        ...


@dataclass
class _OpenPack:
    """A pack being filled; ``sealing`` counts the threads still writing into it."""

    ref: PackRef
    header: PackHeader
    cipher: FrameCipher
    buffer: mmap.mmap
    end: int
    table: np.ndarray = field(default_factory=lambda: np.zeros(_FRAMES_AT_FIRST, dtype=TABLE_DTYPE))
    count: int = 0
    sealing: int = 0
    is_full: bool = False

    def has_room(self, stored: int) -> bool:
        return self.end + stored + trailer_bytes_limit(self.count + 1) <= len(self.buffer)

    def reserve(self, chunk: bytes, stored: int, plain: int) -> Frame:
        frame = Frame(self.end, stored, plain)
        if self.count == len(self.table):
            self.table = np.concatenate([self.table, np.zeros_like(self.table)])
        self.table[self.count] = (np.void(chunk), frame.offset, stored, plain)
        self.count += 1
        self.end += stored
        self.sealing += 1
        return frame


class Packer:
    """Fills packs of one kind and stores them; ``on_stored`` is called once for each durable pack."""

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        kind: PackKind,
        verifier: PackVerifier,
        on_stored: Callable[[StoredPack], None],
    ) -> None:
        self._storage, self._keys, self._kind = storage, keys, kind
        self._verifier, self._on_stored = verifier, on_stored
        self._lock = threading.Lock()
        self._open: _OpenPack | None = None
        self._free: list[mmap.mmap] = []
        self._slots = threading.BoundedSemaphore(_STORING_AT_ONCE)
        self._pool = ThreadPoolExecutor(_STORING_AT_ONCE, thread_name_prefix=f"store-{kind}")
        self._storing: set[Future[None]] = set()
        self.stored_bytes = 0

    def add(self, chunk: bytes, content: Buffer, plain: int) -> None:
        """Seal one chunk's content into a pack. Raises what storing an earlier pack raised."""
        stored = len(content) + TAG_BYTES
        pack, frame = self._reserve(chunk, stored, plain)
        with memoryview(pack.buffer)[frame.offset : frame.offset + stored] as place:
            pack.cipher.seal_into(frame.offset, chunk, content, place)
        self._sealed(pack)

    def finish(self) -> None:
        """Store what is open; ``settle`` waits for it."""
        with self._lock:
            pack, self._open = self._open, None
            is_idle = pack is not None and self._close(pack)
        if pack is not None and is_idle:
            self._send(pack)

    def settle(self) -> None:
        """Wait until everything is durable; raise what went wrong."""
        self._forget_stored(waits=True)

    def close(self) -> None:
        """Let go of the threads and buffers; what is under way is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._free.clear()
        self._open = None

    def _reserve(self, chunk: bytes, stored: int, plain: int) -> tuple[_OpenPack, Frame]:
        full: _OpenPack | None = None
        with self._lock:
            if self._open is not None and not self._open.has_room(stored):
                closed, self._open = self._open, None
                full = closed if self._close(closed) else None
            if self._open is None:
                self._open = self._new_pack(stored)
            pack = self._open
            frame = pack.reserve(chunk, stored, plain)
        if full is not None:
            self._send(full)
        return pack, frame

    def _sealed(self, pack: _OpenPack) -> None:
        with self._lock:
            pack.sealing -= 1
            is_done = pack.is_full and pack.sealing == 0
        if is_done:
            self._send(pack)

    @staticmethod
    def _close(pack: _OpenPack) -> bool:
        """Mark a pack full; return whether nobody is writing into it any more."""
        pack.is_full = True
        return pack.sealing == 0

    def _new_pack(self, first: int) -> _OpenPack:
        ref = PackRef(self._kind, new_object_id())
        header, cipher = new_pack(self._keys, ref)
        wanted = max(PACK_BYTES, min(PACK_LIMIT_BYTES, len(header.raw) + first + trailer_bytes_limit(1)))
        buffer = self._free.pop() if self._free and wanted == PACK_BYTES else large_buffer(wanted)
        buffer[: len(header.raw)] = header.raw
        return _OpenPack(ref, header, cipher, buffer, len(header.raw))

    def _send(self, pack: _OpenPack) -> None:
        crashpoint.reach(CrashPoint.PACK_FULL)
        self._slots.acquire()
        try:
            self._forget_stored(waits=False)
            future = self._pool.submit(self._store, pack)
        except BaseException:
            self._slots.release()  # or the other threads would wait for it for ever
            raise
        with self._lock:
            self._storing.add(future)

    def _store(self, pack: _OpenPack) -> None:
        try:
            table = pack.table[: pack.count]
            with memoryview(pack.buffer)[: pack.end] as frames:
                digest = blake3(frames)
            trailer = seal_trailer(self._keys, pack.ref, pack.header, table, digest.digest())
            pack.buffer[pack.end : pack.end + len(trailer)] = trailer
            length = pack.end + len(trailer)
            with memoryview(pack.buffer)[:length] as content:
                stored = StoredPack(IndexedPack(pack.ref, length, digest.update(trailer).digest()), table)
                self._storage.put(pack.ref.name, content)
                self._verifier.verify(stored, content, pack.cipher)
            crashpoint.reach(CrashPoint.PACK_STORED)
            self._on_stored(stored)
            with self._lock:
                self.stored_bytes += length
                if len(pack.buffer) == PACK_BYTES:
                    self._free.append(pack.buffer)
        finally:
            self._slots.release()

    def _forget_stored(self, *, waits: bool) -> None:
        """Forget the packs that are stored; raise the first failure."""
        with self._lock:
            finished = {future for future in self._storing if waits or future.done()}
            self._storing -= finished
        for future in finished:
            future.result()
