"""What a file consists of: a few extents in its entry, or lists of them that lie over one another.

Lists are metadata chunks, each of one region of the file, so an unchanged region costs one reference. Where a few pages
of a region changed, its list stays as it is, and a list of what differs is laid over it; when that has become long, the
region has a new list. So a backup of little work stores, and a check reads, little, however fragmented the file is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.errors import DamageError
from holdfast.repository.extent_list import EXTENTS_LIMIT, ExtentList, decode_list, distinct_chunks, encode_list
from holdfast.repository.extents import NO_EXTENTS, are_within, lay_over
from holdfast.repository.manifest import EXTENT_DTYPE, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from holdfast.model import ChunkId

INLINE_EXTENTS = 4
TWICE = "it has extents of its own, and lists of extents"
UNTILED = "its extents are empty, overlap or pass its end"
_REGION_BYTES = 128 << 20
_WORTH_A_NEW_LIST = 4
"""When what differs is more than a fourth as long as the list that it lies over, the region has a new one. In chains of
0.6 and 8 % of the pages a third stored 12 % more and 13 % less, a sixth 4 % and 17 % more, a half 30 % more and 18 %
less."""


class StoredList(NamedTuple):
    """A list of extents as it is stored: the id of its chunk, and what it says."""

    chunk: bytes
    listed: ExtentList


@dataclass(frozen=True)
class StoredExtents:
    """A file's extents (EXTENT_DTYPE, by file offset), and the lists that lie lowest, by number of their region."""

    table: np.ndarray
    lists: Mapping[int, StoredList] = field(default_factory=dict)


NOTHING_STORED = StoredExtents(NO_EXTENTS)


def store_extents(
    extents: np.ndarray, put: Callable[[bytes], ChunkId], before: StoredExtents = NOTHING_STORED
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return (inline bytes, chunk ids of lists) for a file's extents; lists that are not ``before``'s are put."""
    if len(extents) <= INLINE_EXTENTS:
        return extents.tobytes(), ()
    lowest: list[bytes] = []
    over: list[bytes] = []
    for part in _parts(extents):
        known = before.lists.get(_region(part))
        differing = _differing(part, known.listed.table()) if known else None
        if known is None or differing is None:
            lowest.append(put(encode_list(part)))
            continue
        lowest.append(known.chunk)
        if len(differing):
            over.append(put(encode_list(differing)))
    return b"", (*lowest, *over)


def load_extents(entry: Entry, read: Callable[[bytes], bytes]) -> np.ndarray:
    """Return an entry's extents (EXTENT_DTYPE, by file offset); ``read`` returns a chunk's plaintext.

    Raises DamageError when they are not those of a file of its size.
    """
    return _load_list(entry, read).table() if entry.extent_chunks else inline_extents([entry])[1]


def load_files(entries: Sequence[Entry], read: Callable[[bytes], bytes]) -> tuple[np.ndarray, ExtentList]:
    """Return (which entry each extent is of, the extents of all entries); otherwise as ``load_extents``."""
    owner, inline = inline_extents(entries)
    owners, parts = [owner], [_as_list(inline)]
    for number, entry in enumerate(entries):
        if entry.extent_chunks:
            parts.append(_load_list(entry, read))
            owners.append(np.full(len(parts[-1].length), number))
    return np.concatenate(owners), _joined(parts)


def load_stored(entry: Entry, read: Callable[[bytes], bytes]) -> StoredExtents:
    """Return the extents with the lists that they are stored as, for a backup to go on from."""
    if not entry.extent_chunks:
        return StoredExtents(load_extents(entry, read))
    lists: dict[int, StoredList] = {}
    decoded = _decoded(entry, read)
    for chunk, listed in zip(entry.extent_chunks, decoded, strict=True):
        lists.setdefault(listed.start // _REGION_BYTES, StoredList(chunk, listed))
    return StoredExtents(_laid_over(entry, decoded).table(), lists)


def inline_extents(entries: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
    """Return (which entry each is of, extents) of those that lie in the entries themselves (EXTENT_DTYPE).

    Raises DamageError when they are not those of a file of the entry's size.
    """
    lengths = np.array([len(entry.extents) for entry in entries], dtype=np.int64)
    cut_off = np.flatnonzero(lengths % EXTENT_DTYPE.itemsize)
    if len(cut_off):
        raise DamageError(f"file {entries[cut_off[0]].path!r}", "its list of extents is cut off")
    extents = np.frombuffer(b"".join([entry.extents for entry in entries]), dtype=EXTENT_DTYPE)
    owner = np.repeat(np.arange(len(entries)), lengths // EXTENT_DTYPE.itemsize)
    wrong = untiled(extents, owner, [entry.size for entry in entries])
    if len(wrong):
        raise DamageError(f"file {entries[owner[wrong[0]]].path!r}", UNTILED)
    return owner, extents


def untiled(extents: np.ndarray, owner: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the rows of extents that are empty, overlap the next one of their file, or pass its end."""
    ends = extents["file_offset"] + extents["length"]
    is_wrong = (ends > np.array(sizes, dtype=np.uint64)[owner]) | (ends <= extents["file_offset"])
    is_wrong[:-1] |= (owner[1:] == owner[:-1]) & (ends[:-1] > extents["file_offset"][1:])
    return np.flatnonzero(is_wrong)


def _load_list(entry: Entry, read: Callable[[bytes], bytes]) -> ExtentList:
    return _laid_over(entry, _decoded(entry, read))


def _decoded(entry: Entry, read: Callable[[bytes], bytes]) -> list[ExtentList]:
    name = f"file {entry.path!r}"
    if entry.extents:
        raise DamageError(name, TWICE)
    return [decode_list(read(chunk), name) for chunk in entry.extent_chunks]


def _laid_over(entry: Entry, lists: Sequence[ExtentList]) -> ExtentList:
    """Return an entry's lists as one, of those chunks alone that are not covered wholly."""
    chunks, number = distinct_chunks(np.concatenate([each.chunks for each in lists]))
    first = np.cumsum([0, *(len(each.chunks) for each in lists)])
    tables = [each.numbered(number[at : at + len(each.chunks)]) for each, at in zip(lists, first, strict=False)]
    laid = lay_over(tables)
    if int(laid["file_offset"][-1]) + int(laid["length"][-1]) > entry.size:
        raise DamageError(f"file {entry.path!r}", UNTILED)
    is_named = np.bincount(laid["chunk"], minlength=len(chunks)) > 0
    chunk = (np.cumsum(is_named) - 1)[laid["chunk"]]
    return ExtentList(chunks[is_named], laid["file_offset"], laid["length"], chunk, laid["chunk_offset"])


def _as_list(extents: np.ndarray) -> ExtentList:
    numbers = np.arange(len(extents))
    return ExtentList(extents["chunk"], extents["file_offset"], extents["length"], numbers, extents["chunk_offset"])


def _joined(parts: Sequence[ExtentList]) -> ExtentList:
    """Return lists one after the other; a chunk that several name is there for each."""
    first = np.cumsum([0, *(len(part.chunks) for part in parts[:-1])])
    return ExtentList(
        np.concatenate([part.chunks for part in parts]),
        np.concatenate([part.file_offset for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.chunk + at for part, at in zip(parts, first, strict=True)]),
        np.concatenate([part.chunk_offset for part in parts]),
    )


def _region(extents: np.ndarray) -> int:
    return int(extents["file_offset"][0]) // _REGION_BYTES


def _parts(extents: np.ndarray) -> Iterator[np.ndarray]:
    """Cut extents into what becomes a list: those of one region, and not too many."""
    regions = extents["file_offset"] // _REGION_BYTES
    for region in np.split(extents, np.flatnonzero(regions[1:] != regions[:-1]) + 1):
        for first in range(0, len(region), EXTENTS_LIMIT):
            yield region[first : first + EXTENTS_LIMIT]


def _differing(part: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """Return which extents, laid over those of a known list, give ``part``; None where a new list is better."""
    differing: np.ndarray = part[~are_within(part, known)]
    if len(differing) * _WORTH_A_NEW_LIST > len(known):
        return None
    # not where there is less than there was, as extents can only be laid over: a file that was cut off, or has a hole
    laid = lay_over([known, differing]) if len(differing) else known
    return differing if laid.tobytes() == part.tobytes() else None
