"""What ``holdfast wal find`` has found, as tables for people and as messages for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli.output import Column

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.postgres.walmarks import RestorePoint
    from holdfast.postgres.walxact import TransactionEnd
    from holdfast.wal.find import Minute
    from holdfast.wal.scan import Hole

_MANY = 4


def local(time: datetime) -> str:
    """Return an instant in this machine's zone, to the microsecond that recovery compares."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S.%f%z}"


def universal(time: datetime) -> str:
    """Return an instant in UTC, without its day: that stands beside it, in local time."""
    from datetime import UTC

    return f"{time.astimezone(UTC):%d %H:%M:%S.%f}"


def transaction_columns() -> list[Column[TransactionEnd]]:
    """Return the table of transactions."""
    return [
        Column("local time", lambda end: local(end.time)),
        Column("UTC", lambda end: universal(end.time)),
        Column("xid", lambda end: str(end.xid), is_number=True),
        Column("ended by", lambda end: end.kind.value),
        Column("LSN", lambda end: str(end.start)),
        Column("ends at", lambda end: str(end.end)),
        Column("timeline", lambda end: str(end.timeline), is_number=True),
        Column("subtransactions", lambda end: _ids(end.subtransactions)),
    ]


def restore_point_columns() -> list[Column[RestorePoint]]:
    """Return the table of restore points."""
    return [
        Column("local time", lambda point: local(point.time)),
        Column("UTC", lambda point: universal(point.time)),
        Column("restore point", lambda point: point.name),
        Column("LSN", lambda point: str(point.start)),
        Column("ends at", lambda point: str(point.end)),
        Column("timeline", lambda point: str(point.timeline), is_number=True),
    ]


def minute_columns() -> list[Column[Minute]]:
    """Return the table of minutes."""
    return [
        Column("minute", lambda minute: f"{minute.start.astimezone():%Y-%m-%d %H:%M %z}"),
        Column("commits", lambda minute: f"{minute.commits:,}", is_number=True),
        Column("aborts", lambda minute: f"{minute.aborts:,}", is_number=True),
    ]


def transaction_message(end: TransactionEnd) -> dict[str, object]:
    """Return the fields of the message ``transaction_end``."""
    return {
        "xid": end.xid,
        "kind": end.kind,
        "time": end.time,
        "start_lsn": str(end.start),
        "end_lsn": str(end.end),
        "timeline": end.timeline,
        "subtransactions": end.subtransactions,
    }


def restore_point_message(point: RestorePoint) -> dict[str, object]:
    """Return the fields of the message ``restore_point``."""
    return {
        "name": point.name,
        "time": point.time,
        "start_lsn": str(point.start),
        "end_lsn": str(point.end),
        "timeline": point.timeline,
    }


def hole_words(hole: Hole) -> str:
    """Return the warning about WAL that could not be looked at."""
    if hole.start is None:
        return f"there is no WAL before {hole.stop} that could be read; what happened there is not known"
    return f"the WAL from {hole.start} to {hole.stop} is not there; what happened in it is not known"


def _ids(ids: tuple[int, ...]) -> str:
    """Return a few ids; of many, how many there are."""
    return " ".join(map(str, ids)) if len(ids) <= _MANY else f"{len(ids)} of them"
