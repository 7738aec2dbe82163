"""Pages of the WAL: which ones are valid, and their content without the headers between.

Records run on from page to page; only where a page begins may something be said about them that does not depend on
what came before. Layout: ``XLogPageHeaderData`` and ``XLogLongPageHeaderData`` in
``src/include/access/xlog_internal.h``. What makes a page invalid is what ``XLogReaderValidatePageHeader`` in
``src/backend/access/transam/xlogreader.c`` would call so.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.errors import VerificationError
from holdfast.postgres.segment import require_segment_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.postgres.lsn import Lsn

    Content = bytes | bytearray | memoryview

HEADER_BYTES: Final = 24
LONG_HEADER_BYTES: Final = 40
"""The first page of a segment has this one."""

FIRST_IS_CONTRECORD: Final = 0x0001
_LONG_HEADER: Final = 0x0002
FIRST_IS_OVERWRITE_CONTRECORD: Final = 0x0008
_ALL_FLAGS: Final = 0x000F

_MAJOR_BY_MAGIC: Final = {0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
"""``XLOG_PAGE_MAGIC`` in each release branch."""

# xlp_magic, xlp_info, xlp_tli, xlp_pageaddr, xlp_rem_len; then xlp_sysid, xlp_seg_size, xlp_xlog_blcksz
_LONG: Final = struct.Struct("<HHIQI4xQII")
_BLOCK_SIZES: Final = {2**power for power in range(10, 17)}


@dataclass(frozen=True, slots=True)
class WalShape:
    """What the first page of every segment of a cluster says; sizes in bytes."""

    magic: int
    system_identifier: int
    segment_size: int
    block_size: int

    @property
    def major(self) -> int:
        """The version of PostgreSQL that wrote it."""
        return _MAJOR_BY_MAGIC[self.magic]


@dataclass(frozen=True, slots=True)
class Pages:
    """Valid pages that follow each other, all of one segment; ``headers`` has one row each (magic, info, …)."""

    shape: WalShape
    start: Lsn
    content: memoryview
    headers: NDArray[np.void]

    def __len__(self) -> int:
        """Return how many pages there are."""
        return len(self.headers)

    @property
    def first_header_bytes(self) -> int:
        """The length of the first page's header."""
        return LONG_HEADER_BYTES if self.start % self.shape.segment_size == 0 else HEADER_BYTES


def read_shape(content: Content) -> WalShape:
    """Return what the beginning of a segment says; VerificationError when this is none, or of an unknown version."""
    if len(content) < _LONG.size:
        raise VerificationError(f"{len(content)} bytes are not a WAL segment")
    magic, info, _, _, _, system_identifier, segment_size, block_size = _LONG.unpack_from(content)
    if not info & _LONG_HEADER or block_size not in _BLOCK_SIZES:
        raise VerificationError("not the beginning of a WAL segment")
    if magic not in _MAJOR_BY_MAGIC:
        raise VerificationError(
            f"the WAL has the mark {magic:#06x}, which is of no version that is supported",
            hint="PostgreSQL 14 to 18 are supported; if this is one of them, the segment is damaged",
        )
    return WalShape(magic, system_identifier, require_segment_size(segment_size), block_size)


def valid_pages(content: Content, start: Lsn, shape: WalShape, least_timeline: int) -> Pages:
    """Return the pages from the beginning of ``content``, which lies at ``start``, up to the first invalid one.

    ``least_timeline`` is that of the page before: it never goes down. A page that is cut off counts as invalid, and
    pages of another cluster do, too.
    """
    count = len(content) // shape.block_size
    view = memoryview(content)[: count * shape.block_size]
    headers: NDArray[np.void] = np.frombuffer(view, _header_type(shape.block_size))
    is_valid = _have_valid_headers(headers, start, shape)
    if count and start % shape.segment_size == 0:
        is_valid[0] &= _is_of(shape, view)
    highest_before = np.maximum.accumulate(np.append(np.uint32(least_timeline), headers["timeline"]))[:-1]
    is_valid &= headers["timeline"] >= highest_before
    valid = count if is_valid.all() else int(np.argmin(is_valid))
    return Pages(shape, start, view[: valid * shape.block_size], headers[:valid])


def _header_type(block_size: int) -> np.dtype[np.void]:
    """Return the type of an array that has one row for each page."""
    return np.dtype(
        {
            "names": ["magic", "info", "timeline", "address", "remaining"],
            "formats": ["<u2", "<u2", "<u4", "<u8", "<u4"],
            "offsets": [0, 2, 4, 8, 16],
            "itemsize": block_size,
        }
    )


def _have_valid_headers(headers: NDArray[np.void], start: Lsn, shape: WalShape) -> NDArray[np.bool_]:
    addresses = np.arange(len(headers), dtype=np.uint64) * np.uint64(shape.block_size) + np.uint64(start)
    is_first = addresses % np.uint64(shape.segment_size) == 0
    info = headers["info"]
    is_valid: NDArray[np.bool_] = (
        (headers["magic"] == shape.magic)
        & (headers["address"] == addresses)
        & (info <= _ALL_FLAGS)
        & (((info & _LONG_HEADER) != 0) == is_first)
    )
    return is_valid


def _is_of(shape: WalShape, content: memoryview) -> bool:
    _, _, _, _, _, system_identifier, segment_size, block_size = _LONG.unpack_from(content)
    expected = (shape.system_identifier, shape.segment_size, shape.block_size)
    return bool((system_identifier, segment_size, block_size) == expected)
