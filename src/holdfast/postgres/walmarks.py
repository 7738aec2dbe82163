"""What the WAL says of itself: restore points, checkpoints, ends of recovery, and which transactions were running.

Layouts: ``xl_restore_point``, ``xl_end_of_recovery`` (``src/include/access/xlog_internal.h``), ``CheckPoint``
(``src/include/catalog/pg_control.h``), ``xl_running_xacts`` (``src/include/storage/standbydefs.h``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.waldata import main_data_offsets
from holdfast.postgres.walrecord import INFO_MASK, RMGR_STANDBY, RMGR_XLOG
from holdfast.postgres.walxact import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.timeline import Timeline
    from holdfast.postgres.walrecord import Records

_TIME: Final = struct.Struct("<q")
_NAME_BYTES: Final = 64
"""``MAXFNAMELEN``; the name ends at the first zero."""
_RUNNING: Final = struct.Struct("<12xII")
_RUNNING_XACTS_INFO: Final = 0x10


class MarkKind(Enum):
    """What a mark says; values are the info of the record (``pg_control.h``)."""

    SHUTDOWN_CHECKPOINT = 0x00
    CHECKPOINT = 0x10
    SWITCH = 0x40
    PARAMETER_CHANGE = 0x60
    RESTORE_POINT = 0x70
    END_OF_RECOVERY = 0x90


_CHECKPOINTS: Final = {MarkKind.SHUTDOWN_CHECKPOINT, MarkKind.CHECKPOINT}
_WITH_TIMESTAMP: Final = {MarkKind.RESTORE_POINT, MarkKind.END_OF_RECOVERY}
# CheckPoint.time, seconds since 1970. It follows redo, two timelines, fullPageWrites, in 17 and later wal_level in the
# gap, nextXid, nextOid, nextMulti, nextMultiOffset, oldestXid and its database, oldestMulti and its database.
_CHECKPOINT_TIME_OFFSET: Final = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """One such record: ``start`` is where it begins, ``end`` where recovery stands after it."""

    kind: MarkKind
    start: Lsn
    end: Lsn
    time: datetime | None
    name: str | None


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A point that somebody named with ``pg_create_restore_point``. Recovery stops at the first of a name."""

    name: str
    time: datetime
    start: Lsn
    end: Lsn
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Running:
    """Which transactions may end later: none before ``oldest``. None from ``next`` on has ended, or even begun."""

    oldest: int
    next: int


def marks(records: Records) -> Iterator[Mark]:
    """Yield the marks among some records; VerificationError when one cannot be read."""
    infos = records.infos & INFO_MASK
    chosen = records.where((records.rmids == RMGR_XLOG) & np.isin(infos, [kind.value for kind in MarkKind]))
    for row, info in enumerate((chosen.infos & INFO_MASK).tolist()):
        kind = MarkKind(info)
        time, name = _time_and_name(kind, chosen.where(slice(row, row + 1)))
        end = Lsn(int(chosen.ends[row]))
        if kind is MarkKind.SWITCH:  # the rest of the segment counts as part of it
            end += -end % records.shape.segment_size
        yield Mark(kind, Lsn(int(chosen.starts[row])), end, time, name)


def running(records: Records) -> Iterator[Running]:
    """Yield what records of running transactions say (``XLOG_RUNNING_XACTS``; every 15 s on a busy server)."""
    is_running = (records.rmids == RMGR_STANDBY) & (records.infos & INFO_MASK == _RUNNING_XACTS_INFO)
    chosen = records.where(is_running)
    for offset in main_data_offsets(chosen, at_least_bytes=_RUNNING.size).tolist():
        following, oldest = _RUNNING.unpack_from(chosen.content.data, offset)
        yield Running(oldest, following)


def _time_and_name(kind: MarkKind, record: Records) -> tuple[datetime | None, str | None]:
    if kind in _CHECKPOINTS:
        offset = int(main_data_offsets(record, at_least_bytes=_CHECKPOINT_TIME_OFFSET + _TIME.size)[0])
        return _epoch_time(_TIME.unpack_from(record.content.data, offset + _CHECKPOINT_TIME_OFFSET)[0]), None
    if kind not in _WITH_TIMESTAMP:
        return None, None
    has_name = kind is MarkKind.RESTORE_POINT
    least = _TIME.size + (_NAME_BYTES if has_name else 0)
    offset = int(main_data_offsets(record, at_least_bytes=least)[0])
    time = instant(_TIME.unpack_from(record.content.data, offset)[0])
    if not has_name:
        return time, None
    stored = record.content[offset + _TIME.size : offset + least].tobytes()
    return time, stored.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _epoch_time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise VerificationError(f"a checkpoint tells a time that cannot be: {seconds} s") from None
