"""How transactions ended, from the records of their commits and aborts: what recovery compares its target with.

Layouts: ``xl_xact_commit``, ``xl_xact_abort`` and what may follow them, in ``src/include/access/xact.h``; the order of
the parts as in ``ParseCommitRecord`` and ``ParseAbortRecord`` (``src/backend/access/rmgrdesc/xactdesc.c``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.waldata import bytes_at, main_data_offsets
from holdfast.postgres.walrecord import RMGR_XACT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from holdfast.postgres.timeline import Timeline
    from holdfast.postgres.walrecord import Records

_OPERATION: Final = 0x70
_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED = 0x00, 0x20, 0x30, 0x40
_HAS_INFO: Final = 0x80

# xl_xact_xinfo.xinfo
_HAS_DATABASE: Final = 1 << 0
_HAS_SUBTRANSACTIONS: Final = 1 << 1
_HAS_RELATIONS: Final = 1 << 2
_HAS_INVALIDATIONS: Final = 1 << 3
_HAS_TWO_PHASE: Final = 1 << 4
_HAS_DROPPED_STATISTICS: Final = 1 << 8

_TIME_BYTES: Final = 8
_FLAGS_BYTES: Final = 4
_DATABASE_BYTES: Final = 8
_RELATION_BYTES: Final = 12
_INVALIDATION_BYTES: Final = 16
_STATISTICS_BYTES: Final = 12
_STATISTICS_BYTES_FROM_18: Final = 16
_COUNT: Final = struct.Struct("<I")

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Where PostgreSQL counts its microseconds from (``src/include/datatype/timestamp.h``)."""
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST_US: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_LATEST_US: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND


class EndKind(StrEnum):
    """How a transaction ended."""

    COMMIT = "commit"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class TransactionEnd:
    """The end of one transaction, as recovery sees it.

    ``xid`` is the id that a recovery target names; of a prepared transaction its own, not that of the session which
    ended it. ``time`` is by the server's clock. ``start`` is where the record begins, ``end`` where recovery stands
    after it.
    """

    xid: int
    kind: EndKind
    time: datetime
    start: Lsn
    end: Lsn
    timeline: Timeline
    subtransactions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionEnds:
    """Ends of transactions, in the order of the WAL: one row each. ``times_us`` counts from ``EPOCH``.

    ``subtransactions`` holds the ids of those rows that have any.
    """

    xids: NDArray[np.uint32]
    are_commits: NDArray[np.bool_]
    times_us: NDArray[np.int64]
    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    subtransactions: Mapping[int, tuple[int, ...]]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.xids)

    def where(self, chosen: NDArray[np.bool_]) -> TransactionEnds:
        """Return those rows for which ``chosen`` is true."""
        kept = np.cumsum(chosen) - 1
        return TransactionEnds(
            self.xids[chosen],
            self.are_commits[chosen],
            self.times_us[chosen],
            self.starts[chosen],
            self.ends[chosen],
            {int(kept[row]): ids for row, ids in self.subtransactions.items() if chosen[row]},
        )

    def row(self, number: int, timeline: Timeline) -> TransactionEnd:
        """Return one of them; the records do not say on which timeline they are."""
        return TransactionEnd(
            xid=int(self.xids[number]),
            kind=EndKind.COMMIT if self.are_commits[number] else EndKind.ABORT,
            time=instant(int(self.times_us[number])),
            start=Lsn(int(self.starts[number])),
            end=Lsn(int(self.ends[number])),
            timeline=timeline,
            subtransactions=self.subtransactions.get(number, ()),
        )

    def rows_of(self, xid: int) -> list[int]:
        """Return the rows of a transaction, or of the one that it was a subtransaction of."""
        own = np.flatnonzero(self.xids == np.uint32(xid)).tolist()
        return sorted({*own, *(row for row, ids in self.subtransactions.items() if xid in ids)})


def instant(microseconds: int) -> datetime:
    """Return a ``TimestampTz``; VerificationError for one that no calendar has."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise VerificationError(f"a WAL record tells a time that cannot be: {microseconds} us") from None


def microseconds_of(time: datetime) -> int:
    """Return an aware instant as a ``TimestampTz``."""
    return (time - EPOCH) // _MICROSECOND


def transaction_ends(records: Records) -> TransactionEnds:
    """Return the ends of transactions among some records; VerificationError when one cannot be read."""
    operations = records.infos & _OPERATION
    is_end = np.isin(operations, (_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED))
    chosen = records.where((records.rmids == RMGR_XACT) & is_end)
    operations = chosen.infos & _OPERATION
    data = main_data_offsets(chosen, at_least_bytes=_TIME_BYTES)
    times_us = bytes_at(chosen.content, data, np.dtype("<i8"))
    if len(times_us) and not _EARLIEST_US <= times_us.min() <= times_us.max() <= _LATEST_US:
        raise VerificationError("a commit record tells a time that cannot be")
    parts = _parts(chosen, data)
    xids = chosen.xids.copy()
    for row in np.flatnonzero(np.isin(operations, (_COMMIT_PREPARED, _ABORT_PREPARED))).tolist():
        xids[row] = _prepared_xid(parts.get(row), Lsn(int(chosen.starts[row])))
    return TransactionEnds(
        xids=xids,
        are_commits=np.isin(operations, (_COMMIT, _COMMIT_PREPARED)),
        times_us=times_us,
        starts=chosen.starts,
        ends=chosen.ends,
        subtransactions={row: part.subtransactions for row, part in parts.items() if part.subtransactions},
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What Holdfast uses of the parts that may follow the time."""

    subtransactions: tuple[int, ...]
    two_phase_xid: int | None


def _parts(records: Records, data: NDArray[np.int64]) -> dict[int, _Parts]:
    """Return the parts of those rows that have some of use."""
    with_info = np.flatnonzero(records.infos & _HAS_INFO)
    ends = records.offsets + records.lengths
    if (data[with_info] + (_TIME_BYTES + _FLAGS_BYTES) > ends[with_info]).any():
        raise VerificationError("a commit record is cut off before its flags")
    flags = bytes_at(records.content, data[with_info] + _TIME_BYTES, np.dtype("<u4"))
    used = (flags & (_HAS_SUBTRANSACTIONS | _HAS_TWO_PHASE)) != 0
    statistics_bytes = _STATISTICS_BYTES_FROM_18 if records.shape.major >= 18 else _STATISTICS_BYTES
    return {
        row: _parse(records.content[data[row] : ends[row]].tobytes(), statistics_bytes)
        for row in with_info[used].tolist()
    }


def _parse(data: bytes, statistics_bytes: int) -> _Parts:
    """Walk over the parts; only their flags say which ones there are."""
    (flags,) = _COUNT.unpack_from(data, _TIME_BYTES)
    at = _TIME_BYTES + _FLAGS_BYTES + (_DATABASE_BYTES if flags & _HAS_DATABASE else 0)
    try:
        subtransactions: tuple[int, ...] = ()
        if flags & _HAS_SUBTRANSACTIONS:
            (count,) = _COUNT.unpack_from(data, at)
            at = _after_list(data, at, 4)
            subtransactions = struct.unpack_from(f"<{count}I", data, at - 4 * count)
        for flag, item_bytes in (
            (_HAS_RELATIONS, _RELATION_BYTES),
            (_HAS_DROPPED_STATISTICS, statistics_bytes),
            (_HAS_INVALIDATIONS, _INVALIDATION_BYTES),
        ):
            if flags & flag:
                at = _after_list(data, at, item_bytes)
        two_phase_xid = _COUNT.unpack_from(data, at)[0] if flags & _HAS_TWO_PHASE else None
    except struct.error as error:
        raise VerificationError("the parts of a commit record are longer than the record") from error
    return _Parts(subtransactions, two_phase_xid)


def _after_list(data: bytes, at: int, item_bytes: int) -> int:
    """Return where a list ends that begins with its number of items; VerificationError beyond the data."""
    end = at + _COUNT.size + int(_COUNT.unpack_from(data, at)[0]) * item_bytes
    if end > len(data):
        raise VerificationError("the parts of a commit record are longer than the record")
    return end


def _prepared_xid(parts: _Parts | None, start: Lsn) -> int:
    if parts is None or parts.two_phase_xid is None:
        raise VerificationError(f"the record at {start} ends a prepared transaction and does not say which")
    return parts.two_phase_xid
