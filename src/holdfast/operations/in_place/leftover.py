"""Going on with what a killed restore in place had staged: what is right in it already is not fetched once more.

It may be half restored, half recovered, or promoted, and a server may still run in it: nothing of it is believed. As in
any delta restore, all of it is compared with the snapshot, and what differs is rewritten. A leftover of another
cluster, or in other places than this restore's, is deleted before anything is staged, and its room counts as free.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.operations.in_place import parts
from holdfast.operations.in_place.wal_home import staged_wal, wal_home
from holdfast.operations.restore import prepare_restore_of
from holdfast.operations.restore_delta import compare, prepare_over, rewrite
from holdfast.restore import staging
from holdfast.restore.checkpoint import delete_parked
from holdfast.restore.delta import require_room
from holdfast.restore.exchange import Parked
from holdfast.restore.marker import marked_facts
from holdfast.restore.orphans import end_servers
from holdfast.services.postgres.facts import from_facts
from holdfast.services.postgres.layout import PostgresLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.config.models import Stack
    from holdfast.operations.restore import PreparedRestore, RestoreRequest
    from holdfast.operations.restore_delta import PreparedDelta
    from holdfast.progress import Reporter
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.exchange import Outside
    from holdfast.restore.staging import StagedRestore
    from holdfast.restore.state import StateDirectory
    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.services.postgres.live import LiveCluster


@dataclass(frozen=True)
class StagingPlace:
    """Where a restore is staged: ``directory`` takes the data directory, ``wal`` its WAL if that is to lie elsewhere.

    ``leftover`` is what an earlier run staged and did not bring into service; ``delta``, the plan of going on with it.
    """

    id: str
    directory: Path
    wal: Outside | None
    leftover: StagedRestore | None = None
    delta: PreparedDelta | None = None

    @property
    def part(self) -> str:
        """The name of the directory, within that of a tablespace, that takes its content."""
        return staging.staging_part(self.id)

    @property
    def note(self) -> str | None:
        """What becomes of the leftover, in words; None where there is none."""
        if self.leftover is None:
            return None
        begun = clock.in_utc(datetime.fromisoformat(self.leftover.begun))
        what = f"what the restore begun {begun} staged in {self.leftover.parked.directory}"
        return f"{what} is gone on with" if self.delta else f"{what} is deleted first, as it cannot be gone on with"

    def record(self, snapshot: Snapshot, homes: Mapping[int, Path]) -> StagedRestore:
        """Return what is written down before anything is staged here."""
        return staging.StagedRestore(
            id=self.id,
            begun=clock.now().isoformat(timespec="seconds"),
            snapshot=snapshot.id,
            parked=self.parked(homes),
        )

    def parked(self, homes: Mapping[int, Path]) -> Parked:
        """Return all directories that are filled; ``homes`` are where the tablespaces belong, by number."""
        return parts.places_to_fill(self.directory, homes, self.part, [self.wal] if self.wal else [])


def _place_of(staging_id: str, live: LiveCluster, configured: Path | None) -> StagingPlace:
    home = wal_home(live)
    directory = staging.staging_name(live.directory, staging_id, configured)
    return StagingPlace(staging_id, directory, staged_wal(home, staging_id) if home else None)


class StagingPlanner:
    """Plans the restore of a chosen snapshot: over a leftover that is like it, else beside it."""

    def __init__(self, restore_id: str, live: LiveCluster, configured: Path | None, state: StateDirectory) -> None:
        """``configured`` is the directory that the stack file names for staging, if it does."""
        leftover = staging.abandoned_staging(state)
        # where this very configuration would stage a restore of the leftover's id
        self._old = _place_of(leftover.id, live, configured) if leftover else None
        self.place = replace(_place_of(restore_id, live, configured), leftover=leftover)
        """Where it is staged; ``prepare`` decides."""

    def prepare(
        self, stack: Stack, request: RestoreRequest, repository: Repository, snapshot: Snapshot
    ) -> PreparedRestore:
        """Plan it (a PrepareRestore)."""
        leftover = self.place.leftover
        if leftover is None:
            return prepare_restore_of(stack, request, repository, snapshot)
        facts = from_facts(snapshot.facts, snapshot.object_name)
        homes = parts.tablespace_homes(facts, request.tablespaces)
        old = self._old
        if old is None or old.parked(homes) != leftover.parked or not _is_of(leftover, facts):
            return prepare_restore_of(stack, replace(request, freed=leftover.parked.places), repository, snapshot)
        layout = PostgresLayout(facts, old.directory, request.tablespaces, old.part)
        restore, delta = prepare_over(stack, request, repository, snapshot, layout)
        require_room(restore.plan)
        self.place = replace(old, leftover=leftover, delta=delta)
        return restore


def go_on(place: StagingPlace, delta: PreparedDelta, reporter: Reporter) -> None:
    """Make of the leftover what the snapshot is; a server that was left in it is ended first."""
    end_servers(Path(os.path.realpath(place.directory)))
    if place.wal is not None:
        delete_parked(Parked(directory=place.wal.parked))
    rewrite(delta, compare(delta, reporter), reporter)


def _is_of(leftover: StagedRestore, facts: PostgresFacts) -> bool:
    """Whether a restore of the same cluster has begun there: it leaves its marker before anything else."""
    marked = marked_facts(Path(leftover.parked.directory))
    return marked.get("system_identifier") == facts.system_identifier
