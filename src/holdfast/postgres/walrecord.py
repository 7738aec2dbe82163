"""Records of the WAL, many at once: one row each in a few arrays.

Layout: ``XLogRecord`` in ``src/include/access/xlogrecord.h``: total length, xid, position of the record before, info,
resource manager, two bytes of nothing, CRC; 24 bytes in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.postgres.walcrc import RECORD_HEADER_BYTES, record_checksums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.postgres.walpage import WalShape
    from holdfast.postgres.walstream import Offsets, Positions, Stream

RMGR_XLOG: Final = 0
RMGR_XACT: Final = 1
RMGR_STANDBY: Final = 8
"""``RM_XLOG_ID``, ``RM_XACT_ID``, ``RM_STANDBY_ID`` (the order of ``src/include/access/rmgrlist.h``)."""

INFO_MASK: Final = 0xF0
"""The low four bits of info are the WAL's own (``XLR_RMGR_INFO_MASK``)."""

_XID_WORD: Final = 1
_PREVIOUS_WORD: Final = 1
_INFO_BYTE: Final = 16
_RMID_BYTE: Final = 17
_CRC_WORD: Final = 5


@dataclass(frozen=True, slots=True)
class Records:
    """Complete records of one stretch of WAL, in order: one row each in every array. Offsets are into ``content``.

    ``starts`` and ``ends`` are positions in the WAL; the end is where the next record may begin, as recovery tells it.
    """

    shape: WalShape
    content: NDArray[np.uint8]
    offsets: Offsets
    starts: Positions
    ends: Positions

    @classmethod
    def of(cls, shape: WalShape, stream: Stream, offsets: Offsets) -> Records:
        """Return the records at these offsets of a stream; all of them must end within it."""
        lengths = _words(stream.content)[offsets >> 2].astype(np.int64)
        return cls(shape, stream.content, offsets, stream.positions(offsets), stream.ends(offsets + lengths))

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.offsets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each in bytes, without padding."""
        lengths: NDArray[np.int64] = _words(self.content)[self.offsets >> 2].astype(np.int64)
        return lengths

    @property
    def xids(self) -> NDArray[np.uint32]:
        """The transaction that wrote each; 0 for none."""
        xids: NDArray[np.uint32] = _words(self.content)[(self.offsets >> 2) + _XID_WORD]
        return xids

    @property
    def infos(self) -> NDArray[np.uint8]:
        """What each is within its resource manager, with the flags of that one, if any."""
        return self.content[self.offsets + _INFO_BYTE]

    @property
    def rmids(self) -> NDArray[np.uint8]:
        """The resource manager that wrote each."""
        return self.content[self.offsets + _RMID_BYTE]

    @property
    def previous(self) -> Positions:
        """Where each says that the record before it began."""
        previous: Positions = self.content.view(np.uint64)[(self.offsets >> 3) + _PREVIOUS_WORD]
        return previous

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Records:
        """Return some of the rows, chosen as numpy chooses."""
        return Records(self.shape, self.content, self.offsets[chosen], self.starts[chosen], self.ends[chosen])

    def body(self, row: int) -> bytes:
        """Return all of one record that follows its header."""
        offset = int(self.offsets[row])
        return self.content[offset + RECORD_HEADER_BYTES : offset + int(self.lengths[row])].tobytes()

    def have_right_crc(self) -> NDArray[np.bool_]:
        """Return for each whether its CRC is that of its bytes."""
        stored = _words(self.content)[(self.offsets >> 2) + _CRC_WORD]
        found: NDArray[np.bool_] = record_checksums(self.content, self.offsets, self.lengths) == stored
        return found


def _words(content: NDArray[np.uint8]) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = content.view(np.uint32)
    return words
