"""Snapshots as the archive's coverage sees them: where recovery from each begins, and where its state is consistent."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.facts import from_facts
from holdfast.wal.reach import SnapshotPoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.repository.snapshot import Snapshot


def snapshot_point(snapshot: Snapshot) -> SnapshotPoint:
    """Return the point of one snapshot; DamageError when its facts cannot be read."""
    facts = from_facts(snapshot.facts, snapshot.object_name)
    return SnapshotPoint(
        id=snapshot.id,
        timeline=Timeline(facts.timeline),
        start=Lsn.parse(facts.start_lsn),
        stop=Lsn.parse(facts.stop_lsn),
        stop_time=datetime.fromisoformat(facts.stop_time or snapshot.ended),
        carries_last_segment=not facts.is_standby,
        expects_archive=facts.archive_mode != "off",
    )


def restorable_points(snapshots: Iterable[Snapshot], system_identifier: str) -> list[SnapshotPoint]:
    """Return the points of one cluster's complete snapshots: an incomplete one opens no window (FAULTS 19)."""
    return [
        snapshot_point(snapshot)
        for snapshot in snapshots
        if snapshot.is_complete and snapshot.facts.get("system_identifier") == system_identifier
    ]
