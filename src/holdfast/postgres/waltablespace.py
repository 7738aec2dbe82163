"""Tablespaces that the WAL makes: replaying one writes into its directory, whoever else uses that on this machine.

``create_tablespace_directories`` (``src/backend/commands/tablespace.c``) refuses a directory that is in use, but not in
recovery. So whoever recovers beside the cluster that the WAL came from must look for these records first. They are few,
and looked for by their headers, at memory speed, without following the chain of records; the CRC tells a record from
what only looks like one.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walcrc import RECORD_HEADER_BYTES, record_checksums
from holdfast.postgres.waldata import main_data_offsets
from holdfast.postgres.walpage import read_shape, valid_pages
from holdfast.postgres.walrecord import Records
from holdfast.postgres.walstream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from holdfast.postgres.walpage import Content, WalShape

# Of the header (src/include/access/xlogrecord.h): info XLOG_TBLSPC_CREATE (0x00, its low bits are the WAL's own),
# resource manager RM_TBLSPC_ID (5), two bytes of nothing.
_MARK_WORD: Final = 4
_MARK: Final = 5 << 8
_MARK_MASK: Final = 0xFFFFFFF0
_CRC_WORD: Final = 5
_SHORTEST_BYTES: Final = RECORD_HEADER_BYTES + 2 + 4 + 2
_LONGEST_BYTES: Final = RECORD_HEADER_BYTES + 3 + 5 + 5 + 4 + 1024
"""With origin, top transaction and a long header; the path has ``MAXPGPATH`` bytes at most."""
_OID: Final = struct.Struct("<I")
_AT_LEAST_A_SEGMENT_HEAD: Final = 40


@dataclass(frozen=True, slots=True)
class MadeTablespace:
    """A record that makes a tablespace: at ``lsn``, with its number, in a directory (empty: in place)."""

    lsn: Lsn
    oid: int
    location: str


def made_tablespaces(content: Content, start: Lsn) -> list[MadeTablespace]:
    """Return what a segment's records make, in order.

    ``content`` is a segment, or its beginning, at ``start``. A record that goes on in the next segment is missed: one
    in a hundred thousand with segments of 16 MiB.
    """
    if len(content) < _AT_LEAST_A_SEGMENT_HEAD:
        return []
    shape = read_shape(content)
    stream = Stream(None, valid_pages(memoryview(content), start, shape, 0))
    words = stream.content[: len(stream) // 8 * 8].view(np.uint32)
    marked = np.flatnonzero((words[_MARK_WORD::2] & np.uint32(_MARK_MASK)) == np.uint32(_MARK)) * 2
    lengths = words[marked]
    fits = (lengths >= _SHORTEST_BYTES) & (lengths <= _LONGEST_BYTES) & (marked * 4 + lengths <= len(stream))
    return list(_records(shape, stream, words, marked[fits]))


def _records(
    shape: WalShape, stream: Stream, words: NDArray[np.uint32], candidates: NDArray[np.intp]
) -> Iterator[MadeTablespace]:
    offsets, lengths = candidates.astype(np.int64) * 4, words[candidates].astype(np.int64)
    is_whole = record_checksums(stream.content, offsets, lengths) == words[candidates + _CRC_WORD]
    records = Records.of(shape, stream, offsets[is_whole])
    for row, data_at in enumerate(main_data_offsets(records, at_least_bytes=_OID.size + 1).tolist()):
        (oid,) = _OID.unpack_from(stream.content.data, data_at)
        end = int(records.offsets[row] + records.lengths[row])
        location = stream.content[data_at + _OID.size : end].tobytes().partition(b"\0")[0]
        yield MadeTablespace(Lsn(int(records.starts[row])), oid, os.fsdecode(location))
