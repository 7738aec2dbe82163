"""A stored list of extents: in columns, with each chunk id once, and next to nothing for what follows from the rest.

Where a file was written to here and there, a backup names tens of thousands of pieces, most of them of a page or a few.
As records they took 48 bytes each, and 6 to 7 compressed; so they take less than 3, and a reader that wants only the
chunks finds them at the front. A piece most often begins where the one before it ended, in the file, and near to where
the last one of its chunk ended, in the chunk: such numbers are small, and compress well byte by byte.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from holdfast.errors import DamageError
from holdfast.repository.manifest import EXTENT_DTYPE

EXTENTS_LIMIT = 1 << 17
"""In one list: so a list that is damaged, or made to do harm, takes some ten MiB to find that out."""
_HEADER = struct.Struct("<QIIBBBBB")
_CHUNK_ID = np.dtype("V32")
_NUMBERED_DTYPE = np.dtype([("file_offset", "<u8"), ("length", "<u4"), ("chunk_offset", "<u4"), ("chunk", "<u4")])
_WIDTH_LIMIT = 4
_UNIT_LIMIT = 31
_FILE_LIMIT = 1 << 63
_CHUNK_LIMIT = 1 << 32


class ExtentList(NamedTuple):
    """Extents in columns: ``chunks`` (V32), and of each extent bytes, and the number of its chunk among them."""

    chunks: np.ndarray
    file_offset: np.ndarray
    length: np.ndarray
    chunk: np.ndarray
    chunk_offset: np.ndarray

    @property
    def start(self) -> int:
        """Where in the file the first extent begins."""
        return int(self.file_offset[0])

    @property
    def end(self) -> int:
        """Where in the file the last extent ends."""
        return int(self.file_offset[-1] + self.length[-1])

    def numbered(self, numbers: np.ndarray) -> np.ndarray:
        """Return the extents as rows with another number for each chunk instead of its id: less to move about."""
        rows = np.empty(len(self.length), dtype=_NUMBERED_DTYPE)
        rows["file_offset"], rows["length"] = self.file_offset, self.length
        rows["chunk_offset"], rows["chunk"] = self.chunk_offset, numbers[self.chunk]
        return rows

    def table(self) -> np.ndarray:
        """Return the extents as rows (EXTENT_DTYPE, by file offset)."""
        rows = np.empty(len(self.length), dtype=EXTENT_DTYPE)
        rows["file_offset"], rows["length"] = self.file_offset, self.length
        rows["chunk_offset"], rows["chunk"] = self.chunk_offset, self.chunks[self.chunk]
        return rows


class _Header(NamedTuple):
    start: int
    extents: int
    chunks: int
    unit: int
    widths: tuple[int, ...]

    def pack(self) -> bytes:
        return _HEADER.pack(self.start, self.extents, self.chunks, self.unit, *self.widths)

    @property
    def list_bytes(self) -> int:
        """How long the whole list is."""
        return _HEADER.size + self.chunks * _CHUNK_ID.itemsize + self.extents * sum(self.widths)


def encode_list(extents: np.ndarray) -> bytes:
    """Return the bytes of a list of extents (EXTENT_DTYPE, at least one, sorted, not overlapping, none empty)."""
    chunks, chunk = distinct_chunks(extents["chunk"])
    offset, length, inside = (extents[name].astype(np.int64) for name in ("file_offset", "length", "chunk_offset"))
    if not length.all():
        raise ValueError("extents that are empty")
    start = int(offset[0])
    unit = _unit(offset - start, length, inside)
    offset, length, inside = (offset - start) >> unit, length >> unit, inside >> unit
    gap = np.diff(offset, prepend=0) - np.concatenate(([0], length[:-1]))
    order, begins = _by_chunk(chunk)
    step = np.empty_like(inside)
    step[order] = inside[order] - _ends_before(length[order], inside[order], begins)
    columns = [_planes(column) for column in (gap, length, chunk, np.where(step < 0, -2 * step - 1, 2 * step))]
    widths = tuple(len(planes) for planes in columns)
    header = _Header(start, len(extents), len(chunks), unit, widths)
    return b"".join([header.pack(), chunks.tobytes(), *(planes.tobytes() for planes in columns)])


def decode_list(content: bytes, name: str) -> ExtentList:
    """Return a list of extents; DamageError, which says what ``name`` is, when the bytes are not those of a list."""
    header = _parse_header(content, name)
    chunks = _chunks(content, header)
    at = _HEADER.size + chunks.nbytes
    columns = []
    for width in header.widths:
        columns.append(_numbers(content, at, width, header.extents))
        at += width * header.extents
    gap, length, chunk, step = columns
    if not length.all() or not _names_all(chunk, len(chunks)):
        raise DamageError(name, "a list of extents has empty ones, or some in chunks that it does not name")
    ends = np.cumsum(gap + length)
    if int(ends[-1]) > (_FILE_LIMIT - 1 - header.start) >> header.unit:
        raise DamageError(name, "a list of extents passes the end of any file")
    inside = _inside_chunks(chunk, length, (step >> 1) ^ -(step & 1))
    if (inside < 0).any() or int((inside + length).max()) >= _CHUNK_LIMIT >> header.unit:
        raise DamageError(name, "a list of extents passes the end of any chunk")
    unit = header.unit
    return ExtentList(chunks, ((ends - length) << unit) + header.start, length << unit, chunk, inside << unit)


def listed_chunks(content: bytes, name: str) -> np.ndarray:
    """Return the ids (V32, each once) of the chunks that a list names, without looking at its extents."""
    return _chunks(content, _parse_header(content, name))


def distinct_chunks(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids in the order in which they first occur, which of them each is) of chunk ids (V32)."""
    # The head of an id tells chunks apart as well as all of it does, and is sorted in a tenth of the time
    heads = np.ascontiguousarray(ids).view("<u8")[::4]
    _, first, which = np.unique(heads, return_index=True, return_inverse=True)
    if (ids[first][which] != ids).any():  # ids that begin alike, which only somebody who can seal could make
        _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return ids[first[order]], rank[which]


def _parse_header(content: bytes, name: str) -> _Header:
    if len(content) < _HEADER.size:
        raise DamageError(name, "a list of extents is cut off")
    start, extents, chunks, unit, *widths = _HEADER.unpack_from(content)
    header = _Header(start, extents, chunks, unit, tuple(widths))
    if not (0 < chunks <= extents <= EXTENTS_LIMIT and unit <= _UNIT_LIMIT and max(widths) <= _WIDTH_LIMIT):
        raise DamageError(name, "a list of extents says of itself what cannot be")
    if start >= _FILE_LIMIT or len(content) != header.list_bytes:
        raise DamageError(name, "a list of extents is not as long as it should be")
    return header


def _chunks(content: bytes, header: _Header) -> np.ndarray:
    return np.frombuffer(content, dtype=_CHUNK_ID, count=header.chunks, offset=_HEADER.size)


def _unit(*columns: np.ndarray) -> int:
    """Return the power of two that all numbers are multiples of: that of a page, mostly."""
    bits = int(np.bitwise_or.reduce([np.bitwise_or.reduce(column) for column in columns]))
    return min(_UNIT_LIMIT, (bits & -bits).bit_length() - 1)


def _planes(column: np.ndarray) -> np.ndarray:
    """Return numbers as rows of their bytes: all lowest ones, then all next ones, as far as one is not zero."""
    width = (int(column.max()).bit_length() + 7) // 8
    if width > _WIDTH_LIMIT or int(column.min()) < 0:
        raise ValueError("extents that overlap, or lie too far apart for one list")
    return np.ascontiguousarray(column.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width].T)


def _numbers(content: bytes, at: int, width: int, count: int) -> np.ndarray:
    """Return the numbers (int64) whose planes of bytes begin at ``at``."""
    column = np.zeros(count, dtype=np.int64)
    for plane in range(width):
        places = np.frombuffer(content, dtype=np.uint8, count=count, offset=at + plane * count)
        column |= places.astype(np.int64) << 8 * plane
    return column


def _by_chunk(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (the order of extents by chunk, which of them in that order are the first of their chunk)."""
    # numbers of 16 bits are sorted by their digits, in an eighth of the time
    order = np.argsort(chunk.astype(np.uint16) if int(chunk.max()) < 1 << 16 else chunk, kind="stable")
    return order, np.diff(chunk[order], prepend=-1) != 0


def _ends_before(length: np.ndarray, inside: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Return for extents by chunk where the one before ends in that chunk; 0 for the first."""
    ends = np.concatenate(([0], (inside + length)[:-1]))
    return np.where(begins, 0, ends)


def _inside_chunks(chunk: np.ndarray, length: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return where each extent begins in its chunk, from how far that is from the end of the one before."""
    order, begins = _by_chunk(chunk)
    moves = step[order] + np.where(begins, 0, np.concatenate(([0], length[order][:-1])))
    places = np.cumsum(moves)
    first = np.flatnonzero(begins)
    places -= np.repeat(places[first] - moves[first], np.diff(np.append(first, len(places))))
    inside = np.empty_like(places)
    inside[order] = places
    return inside


def _names_all(chunk: np.ndarray, count: int) -> bool:
    """Tell whether numbers are those of the chunks, and each chunk has one."""
    return int(chunk.max()) < count and bool(np.bincount(chunk, minlength=count).all())
