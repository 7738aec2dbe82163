"""What a recovery reached, as the server itself says: never assumed from what was asked for (FAULTS 15, 34)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline
    from holdfast.restore.target import RecoveryTarget


@dataclass(frozen=True, slots=True)
class Reached:
    """Where recovery ended: ``lsn`` is the end of the last replayed record, on ``timeline``.

    ``last_commit`` is when the last replayed transaction ended (aware, UTC; None: none was replayed), by the clock of
    the server that wrote the WAL. ``stopped`` is the server's own line on why it stopped, empty at the end of the WAL.
    ``has_ended``: the server did not halt there but ended recovery at once, as it does where nobody could look.
    """

    lsn: Lsn
    timeline: Timeline
    last_commit: datetime | None
    stopped: str = ""
    has_ended: bool = False

    def as_facts(self, target: RecoveryTarget) -> dict[str, object]:
        """Return what was wanted and what was reached, as the marker of a restored directory keeps it."""
        return {
            "target": str(target),
            "lsn": str(self.lsn),
            "timeline": int(self.timeline),
            "last_commit": self.last_commit.isoformat() if self.last_commit else None,
            "stopped": self.stopped,
        }
