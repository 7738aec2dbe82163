"""The manifest: the sorted list of files of one snapshot, itself stored as deduplicated metadata chunks.

Leaves hold entries sorted by path (MessagePack arrays, one after the other); a leaf ends where the hash of a path
says so, so an unchanged region of a large tree yields the same leaves again and costs nothing. The root lists the
leaves with the first path of each. Content is named by extents, in the entry or in lists (``file_extents.py``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from xxhash import xxh3_64_intdigest

from holdfast.errors import DamageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.model import ChunkId

EXTENT_DTYPE = np.dtype([("file_offset", "<u8"), ("length", "<u4"), ("chunk_offset", "<u4"), ("chunk", "V32")])
_LEAF_BOUNDARY = 256
_LEAF_LIMIT = 2048


_EARLIEST_NS, _LATEST_NS = -(1 << 63), (1 << 63) - 1
_Time = Annotated[int, msgspec.Meta(ge=_EARLIEST_NS, le=_LATEST_NS)]
_Owner = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
_Chunk = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class EntryKind(IntEnum):
    """What a path is."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    HARD_LINK = 4
    FIFO = 5
    SOCKET = 6


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One path of a snapshot. Names are bytes as the file system has them; times in ns since 1970 UTC.

    ``link`` is a symlink's target, or for a hard link the path of the entry that holds the content. ``inode`` and
    ``ctime_ns`` serve only to recognise an unchanged file. A region that no extent covers reads as zeros (a hole).
    """

    path: bytes
    kind: EntryKind
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
    uid: _Owner
    gid: _Owner
    user: str
    group: str
    mtime_ns: _Time
    ctime_ns: _Time
    inode: Annotated[int, msgspec.Meta(ge=0)]
    size: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    link: bytes = b""
    xattrs: dict[bytes, bytes] = {}
    extents: bytes = b""
    extent_chunks: tuple[_Chunk, ...] = ()


class Leaf(msgspec.Struct, array_like=True, frozen=True):
    """One leaf as the root names it."""

    first_path: bytes
    chunk: _Chunk
    entries: Annotated[int, msgspec.Meta(ge=1)]


_leaf_decoder = msgspec.msgpack.Decoder(tuple[Entry, ...])
_root_decoder = msgspec.msgpack.Decoder(tuple[Leaf, ...])


def storable_time(time_ns: int) -> int:
    """Return the nearest time that an entry can hold: file systems know some beyond the years 1677 to 2262."""
    return min(max(time_ns, _EARLIEST_NS), _LATEST_NS)


def store_manifest(entries: Iterable[Entry], put: Callable[[bytes], ChunkId]) -> ChunkId:
    """Put entries (sorted by path, unique) as leaves and root; return the root's chunk id."""
    leaves = [Leaf(leaf[0].path, put(msgspec.msgpack.encode(leaf)), len(leaf)) for leaf in _cut_leaves(entries)]
    return put(msgspec.msgpack.encode(leaves))


def _cut_leaves(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    leaf: list[Entry] = []
    for entry in entries:
        if leaf and entry.path <= leaf[-1].path:
            raise ValueError(f"entries out of order: {leaf[-1].path!r}, {entry.path!r}")
        leaf.append(entry)
        if xxh3_64_intdigest(entry.path) % _LEAF_BOUNDARY == 0 or len(leaf) == _LEAF_LIMIT:
            yield leaf
            leaf = []
    if leaf:
        yield leaf


def load_leaves(root: bytes) -> Sequence[Leaf]:
    """Return the leaves that a root chunk names."""
    try:
        return _root_decoder.decode(root)
    except msgspec.MsgspecError as error:
        raise DamageError("manifest root", f"cannot be read ({error})") from error


def load_entries(leaf: bytes) -> Sequence[Entry]:
    """Return the entries of a leaf chunk."""
    try:
        return _leaf_decoder.decode(leaf)
    except msgspec.MsgspecError as error:
        raise DamageError("manifest leaf", f"cannot be read ({error})") from error
