"""The main data of WAL records that refer to no block: what a resource manager wrote, after the WAL's own marks.

Between the header and the data stand, each only where needed, the replication origin and the id of the top
transaction, then the length (``XLogRecordAssemble`` in ``src/backend/access/transam/xloginsert.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.walcrc import RECORD_HEADER_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.postgres.walrecord import Records

# XLR_BLOCK_ID_… (src/include/access/xlogrecord.h), each with the bytes that it and what belongs to it take
_TOP_XID, _TOP_XID_BYTES = 252, 5
_ORIGIN, _ORIGIN_BYTES = 253, 3
_LONG_DATA, _LONG_DATA_BYTES = 254, 5
_SHORT_DATA, _SHORT_DATA_BYTES = 255, 2


def main_data_offsets(records: Records, *, at_least_bytes: int) -> NDArray[np.int64]:
    """Return where the main data of each record begins; VerificationError where it is shorter, or not there."""
    content = records.content
    last = max(len(content) - 1, 0)
    at = records.offsets + RECORD_HEADER_BYTES
    for mark, skipped_bytes in ((_ORIGIN, _ORIGIN_BYTES), (_TOP_XID, _TOP_XID_BYTES)):
        at = at + np.where(content[np.minimum(at, last)] == mark, skipped_bytes, 0)
    marks = content[np.minimum(at, last)]
    at = at + np.where(marks == _SHORT_DATA, _SHORT_DATA_BYTES, _LONG_DATA_BYTES)
    is_right = ((marks == _SHORT_DATA) | (marks == _LONG_DATA)) & (
        at + at_least_bytes <= records.offsets + records.lengths
    )
    if not is_right.all():
        start = Lsn(int(records.starts[np.argmin(is_right)]))
        raise VerificationError(f"the WAL record at {start} does not hold what its kind must")
    return at


def bytes_at(content: NDArray[np.uint8], offsets: NDArray[np.int64], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the number of some kind at each offset, aligned or not."""
    gathered = content[offsets[:, None] + np.arange(kind.itemsize)]
    numbers: NDArray[Any] = gathered.view(kind)[:, 0]
    return numbers
