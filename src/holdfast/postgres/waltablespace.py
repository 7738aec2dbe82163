"""Tablespaces that the WAL makes: replaying one writes into its directory, whoever else uses that on this machine.

``create_tablespace_directories`` (``src/backend/commands/tablespace.c``) refuses a directory that is in use, but not in
recovery. So whoever recovers beside the cluster that the WAL came from must look for these records first. They are few,
and looked for by their headers, at memory speed, without following the chain of records; the CRC tells a record from
what only looks like one. WAL may be given in parts and in any order: where two parts meet, what may be the beginning of
such a record is kept until its rest has come, or the rest until its beginning has.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walcrc import RECORD_HEADER_BYTES
from holdfast.postgres.waldata import main_data_offsets
from holdfast.postgres.walpage import Pages, valid_pages
from holdfast.postgres.walrecord import INFO_MASK, Records
from holdfast.postgres.walstream import ALIGNMENT_BYTES, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from holdfast.postgres.walpage import Content, WalShape
    from holdfast.postgres.walstream import Carried, Offsets

_RMGR: Final = 5
"""``RM_TBLSPC_ID`` (the order of ``src/include/access/rmgrlist.h``)."""
_CREATE: Final = 0x00
"""``XLOG_TBLSPC_CREATE`` (``src/include/commands/tablespace.h``)."""
# A word of the header: info, whose low bits are the WAL's own, resource manager, two bytes of nothing.
_MARK_WORD: Final = 4
_MARK: Final = _RMGR << 8 | _CREATE
_MARK_MASK: Final = 0xFFFF0000 | 0xFF00 | INFO_MASK
_SHORTEST_BYTES: Final = RECORD_HEADER_BYTES + 2 + 4 + 1
_LONGEST_BYTES: Final = RECORD_HEADER_BYTES + 3 + 5 + 5 + 4 + 1024
"""With origin, top transaction and a long header; the path has ``MAXPGPATH`` bytes at most."""
_OID: Final = struct.Struct("<I")
_REST_PAGES: Final = 2
"""Of any size (1 KiB at least) they hold the rest of such a record."""
_REMEMBERED: Final = 1024
"""Places where parts meet of which one side is remembered: more than are ever read ahead of each other."""
_FIRST: Final = np.zeros(1, np.int64)
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class MadeTablespace:
    """A record that makes a tablespace: at ``lsn``, with its number, in a directory (empty: in place)."""

    lsn: Lsn
    oid: int
    location: str


class TablespaceSearch:
    """Finds the records that make tablespaces in WAL that is given part by part. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beginnings: _Newest[list[Carried]] = _Newest()
        self._rests: _Newest[Pages] = _Newest()

    def look(self, shape: WalShape, content: Content, start: Lsn) -> list[MadeTablespace]:
        """Return what the records in a part make, in order; also of a record that only this part makes whole.

        ``content`` is any number of whole pages of one segment, the first of them at ``start``.
        """
        pages = valid_pages(content, start, shape, 0)
        stream = Stream(None, pages)
        found = list(_whole_records(shape, stream, _marked(_words(stream))))
        for beginning, rest in self._met(pages, stream):
            found += _whole_records(shape, Stream(beginning, rest), _FIRST)
        return sorted(found, key=lambda made: made.lsn)

    def _met(self, pages: Pages, stream: Stream) -> list[tuple[Carried, Pages]]:
        """Keep both ends of a part; return what begins or ends in it and has met its other side."""
        start, end = int(pages.start), int(pages.start) + len(pages.content)
        beginnings, rest = _beginnings(stream), _rest(pages, stream)
        with self._lock:
            if beginnings:
                self._beginnings.keep(end, beginnings)
            if rest is not None:
                self._rests.keep(start, rest)
            before, after = self._beginnings.get(start), self._rests.get(end)
        met = [(each, rest) for each in before or []] if rest is not None else []
        return met + ([(each, after) for each in beginnings] if after is not None else [])


class _Newest(OrderedDict[int, _Kept], Generic[_Kept]):
    """What was kept last, by position: bounded."""

    def keep(self, position: int, kept: _Kept) -> None:
        self[position] = kept
        self.move_to_end(position)
        while len(self) > _REMEMBERED:
            self.popitem(last=False)


def _words(stream: Stream) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = stream.content.view(np.uint32)
    return words


def _marked(words: NDArray[np.uint32]) -> Offsets:
    """Return the offsets in bytes of what has the mark of such a record's header."""
    found = np.flatnonzero((words[_MARK_WORD::2] & np.uint32(_MARK_MASK)) == np.uint32(_MARK))
    return found * ALIGNMENT_BYTES


def _whole_records(shape: WalShape, stream: Stream, offsets: Offsets) -> Iterator[MadeTablespace]:
    """Yield what the records at some of these offsets make, which end within the stream and have the right CRC."""
    lengths = _words(stream)[offsets >> 2].astype(np.int64)
    fits = (lengths >= _SHORTEST_BYTES) & (lengths <= _LONGEST_BYTES) & (offsets + lengths <= len(stream))
    records = Records.of(shape, stream, offsets[fits])
    records = records.where((records.rmids == _RMGR) & (records.infos & INFO_MASK == _CREATE))
    records = records.where(records.have_right_crc())
    for row, data_at in enumerate(main_data_offsets(records, at_least_bytes=_OID.size + 1).tolist()):
        (oid,) = _OID.unpack_from(stream.content.data, data_at)
        end = int(records.offsets[row] + records.lengths[row])
        location = stream.content[data_at + _OID.size : end].tobytes().partition(b"\0")[0]
        yield MadeTablespace(Lsn(int(records.starts[row])), oid, os.fsdecode(location))


def _beginnings(stream: Stream) -> list[Carried]:
    """Return what may be the beginning of a record that ends after the stream; all of its header need not be there."""
    first = max(0, len(stream) - _LONGEST_BYTES // ALIGNMENT_BYTES * ALIGNMENT_BYTES)
    words = _words(stream)[first >> 2 :]
    without_mark = np.arange(max(first, len(stream) - _MARK_WORD * 4), len(stream), ALIGNMENT_BYTES)
    offsets = np.append(_marked(words) + first, without_mark)
    lengths = words[(offsets - first) >> 2].astype(np.int64)
    fits = (lengths >= _SHORTEST_BYTES) & (lengths <= _LONGEST_BYTES) & (offsets + lengths > len(stream))
    return [stream.carry(offset) for offset in offsets[fits].tolist()]


def _rest(pages: Pages, stream: Stream) -> Pages | None:
    """Return a copy of the first pages, where they go on with a record that may be one."""
    if not len(pages) or not 0 < stream.continued_bytes[0] <= _LONGEST_BYTES:
        return None
    count = min(_REST_PAGES, len(pages))
    content = bytes(pages.content[: count * pages.shape.block_size])
    return Pages(pages.shape, pages.start, memoryview(content), pages.headers[:count].copy())
