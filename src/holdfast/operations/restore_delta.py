"""Bring a stopped, older or damaged copy of a cluster to a snapshot or a target, by writing only what differs."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository, choose_service
from holdfast.operations.restore import (
    RESTORE_NEEDS,
    PreparedRestore,
    RestoreRequest,
    prepare_restore,
    require_absolute,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.operations.recovery.plan import PreparedRecovery, RecoveryRequest
    from holdfast.operations.recovery.run import Recovered
    from holdfast.progress import Reporter
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.delta import DeltaOptions, DeltaPlan, DeltaResult, Difference
    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.services.postgres.layout import PostgresLayout

_NEEDS = ("holdfast.restore.delta", "holdfast.services.postgres.copies", *RESTORE_NEEDS)


@dataclass(frozen=True)
class PreparedDelta:
    """A delta restore that is planned and allowed; nothing is compared yet. ``recovery`` follows it, if any."""

    delta: DeltaPlan
    facts: PostgresFacts
    options: DeltaOptions
    recovery: PreparedRecovery | None = None


@contextmanager
def prepared_delta(stack: Stack, request: RestoreRequest) -> Iterator[PreparedDelta]:
    """Plan a delta restore, and hold the copy against a second one while the block lasts; nothing is written.

    Raises UsageError for a copy that is in use, of another cluster, or none; BusyError when another run has it.
    """
    require_absolute(request.target)
    with ExitStack() as held:
        planner = _Planner(held)
        prepare_restore(stack, request, planner.prepare, needs=_NEEDS)
        yield planner.prepared(None)


@contextmanager
def prepared_recovery(stack: Stack, request: RecoveryRequest, reporter: Reporter) -> Iterator[PreparedDelta]:
    """Plan as ``prepared_delta`` does, and a recovery after it; TargetNotReachableError as well."""
    from holdfast.operations.recovery.plan import prepare_recovery

    require_absolute(request.restore.target)
    with ExitStack() as held:
        planner = _Planner(held)
        yield planner.prepared(prepare_recovery(stack, request, reporter, planner.prepare))


def prepare_over(
    stack: Stack,
    request: RestoreRequest,
    repository: Repository,
    snapshot: Snapshot,
    layout: PostgresLayout,
    *,
    new: Collection[Path] = (),
) -> tuple[PreparedRestore, PreparedDelta]:
    """Plan to make what lies at the places of a layout the snapshot; ``new`` of them must be new or empty."""
    from holdfast.postgres.running import require_stopped
    from holdfast.restore.delta import DeltaOptions, plan_delta
    from holdfast.restore.run import RestoreOptions
    from holdfast.services.postgres.copies import MAY_BE_LINKS
    from holdfast.services.postgres.facts import from_facts

    facts = from_facts(snapshot.facts, snapshot.object_name)
    delta = plan_delta(repository, snapshot, layout, new)
    _, config = choose_repository(stack, asked=request.repository, service=request.service)
    options = DeltaOptions(
        MAY_BE_LINKS, partial(require_stopped, layout.target), config.threads or DeltaOptions.threads
    )
    bin_directory = choose_service(stack, request.service).binaries
    restore = PreparedRestore(delta.whole, facts, bin_directory, repository, delta.reader, RestoreOptions())
    return restore, PreparedDelta(delta, facts, options)


def compare(prepared: PreparedDelta, reporter: Reporter) -> Difference:
    """Compare the copy with the snapshot; nothing is changed."""
    from holdfast.restore.delta import compare as compare_copy

    return compare_copy(prepared.delta, prepared.options, reporter)


def rewrite(prepared: PreparedDelta, difference: Difference, reporter: Reporter) -> DeltaResult:
    """Write what differs; raises NoSpaceError before anything is changed when it cannot fit."""
    from holdfast.restore.delta import require_room, run_delta

    require_room(prepared.delta.whole)
    return run_delta(prepared.delta, difference, prepared.options, reporter)


def recover_copy(prepared: PreparedDelta, reporter: Reporter) -> Recovered | None:
    """Recover what was rewritten to the target, if there is one."""
    if prepared.recovery is None:
        return None
    from holdfast.operations.recovery.run import recover

    return recover(prepared.recovery, prepared.delta.whole.layout.target, reporter)


class _Planner:
    """Plans over a copy once the snapshot is chosen; what holds the copy is let go of by ``held``."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held
        self._prepared: PreparedDelta | None = None

    def prepare(
        self, stack: Stack, request: RestoreRequest, repository: Repository, snapshot: Snapshot
    ) -> PreparedRestore:
        """Plan, and hold the copy (a PrepareRestore)."""
        from holdfast.restore.delta import set_aside_path
        from holdfast.restore.lock import locked
        from holdfast.restore.marker import marked_facts
        from holdfast.services.postgres.copies import (
            places_of_copy,
            require_copy,
            require_tablespaces,
            require_wal_directory,
        )
        from holdfast.services.postgres.facts import from_facts
        from holdfast.services.postgres.layout import PostgresLayout

        facts = from_facts(snapshot.facts, snapshot.object_name)
        target = request.target.resolve()
        marked = marked_facts(target).get("system_identifier")
        aside = set_aside_path(PostgresLayout(facts, target, {}))
        require_copy(target, facts, aside, str(marked) if marked else None)
        require_wal_directory(target, facts)
        places = places_of_copy(target, facts, request.tablespaces)
        layout = PostgresLayout(facts, target, places)
        new = require_tablespaces(target, layout.roots, places)
        self._held.enter_context(locked(target))
        restore, self._prepared = prepare_over(stack, request, repository, snapshot, layout, new=new)
        return restore

    def prepared(self, recovery: PreparedRecovery | None) -> PreparedDelta:
        """Return what was planned, with the recovery that follows."""
        assert self._prepared is not None
        return replace(self._prepared, recovery=recovery)
