"""The JSON message of ``holdfast wal status``: positions as PostgreSQL writes them, all else in JSON's own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.operations.wal.alerts import Alert
    from holdfast.operations.wal.status import WalStatus
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.gaps import Gap
    from holdfast.wal.holdings import TimelineHoldings
    from holdfast.wal.windows import Window


def status_message(status: WalStatus, alerts: Sequence[Alert]) -> dict[str, object]:
    """Return the message; schema in docs/reference/json/wal_status.json."""
    coverage = status.coverage
    return {
        "service": status.service,
        "system_identifier": status.system_identifier,
        "segment_size": coverage.segment_size if coverage else None,
        "server": _server(status),
        "server_error": status.server_error.message if status.server_error else None,
        "repository_error": status.repository_error.message if status.repository_error else None,
        "timelines": _timelines(coverage) if coverage else [],
        "windows": [window_message(window) for window in coverage.windows] if coverage else [],
        "gaps": [_gap(gap) for gap in coverage.gaps] if coverage else [],
        "other_partials": [file.name for file in coverage.listing.other_partials] if coverage else [],
        "conflicts": [file.name for file in coverage.listing.conflicts] if coverage else [],
        "given_up": [file.segment_name for file in coverage.listing.gap_records] if coverage else [],
        "missing_histories": list(coverage.missing_histories) if coverage else [],
        "lag": _lag(status),
        "waiting": {"segments": status.waiting.segments, "since": status.waiting.since} if status.waiting else None,
        "slot": _slot(status),
        "push": msgspec.to_builtins(status.push) if status.push else None,
        "receive": msgspec.to_builtins(status.receive) if status.receive else None,
        "alerts": list(alerts),
    }


def window_message(window: Window) -> dict[str, object]:
    """Return a window of recovery."""
    return {
        "timeline": window.timeline,
        "start_timeline": window.start_timeline,
        "start_lsn": str(window.start),
        "end_lsn": str(window.end),
        "start_time": window.start_time,
        "end_time": window.end_time,
        "snapshots": list(window.snapshots),
    }


def _server(status: WalStatus) -> dict[str, object] | None:
    server = status.server
    if server is None:
        return None
    return {
        "is_standby": server.is_standby,
        "timeline": server.timeline,
        "lsn": str(server.lsn),
        "archive_mode": server.archive_mode,
        "last_archived": server.archiver.last_archived,
        "last_archived_time": server.archiver.last_archived_time,
        "last_failed": server.archiver.last_failed,
        "last_failed_time": server.archiver.last_failed_time,
    }


def _timelines(coverage: Coverage) -> list[dict[str, object]]:
    return [_timeline(coverage, each) for each in coverage.holdings.values() if each.first is not None]


def _timeline(coverage: Coverage, held: TimelineHoldings) -> dict[str, object]:
    assert held.first is not None
    assert held.last is not None
    return {
        "timeline": held.timeline,
        "first_segment": held.segment(held.first).name,
        "last_segment": held.segment(held.last).name,
        "segments": held.count,
        "stored_bytes": held.stored_bytes,
        "intervals": [{"start_lsn": str(start), "end_lsn": str(end)} for start, end in held.intervals()],
        "branches": [
            {"parent": branch.parent, "lsn": str(branch.lsn)}
            for branch in coverage.lineage.branches()
            if branch.child == held.timeline
        ],
        "history_is_missing": held.timeline in coverage.lineage.missing,
    }


def _gap(gap: Gap) -> dict[str, object]:
    return {
        "timeline": gap.timeline,
        "first_segment": gap.first.name,
        "last_segment": gap.last.name,
        "segments": gap.segments,
        "start_lsn": str(gap.start),
        "end_lsn": str(gap.end),
        "seen": gap.seen,
        "splits": gap.splits,
    }


def _lag(status: WalStatus) -> dict[str, object] | None:
    lag = status.lag
    if lag is None:
        return None
    return {
        "size_bytes": lag.size_bytes,
        "segments": lag.segments,
        "seconds": lag.seconds,
        "archived_lsn": None if lag.archived is None else str(lag.archived),
    }


def _slot(status: WalStatus) -> dict[str, object] | None:
    slot = status.server.slot if status.server else None
    if slot is None:
        return None
    return {
        "name": slot.name,
        "is_active": slot.is_active,
        "restart_lsn": slot.restart_lsn,
        "wal_status": slot.wal_status,
        "retained_bytes": slot.retained_bytes,
    }
