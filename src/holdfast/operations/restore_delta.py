"""Bring a stopped, older or damaged copy of a cluster to the state of a snapshot, by writing only what differs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository
from holdfast.errors import UsageError
from holdfast.operations.wiring import open_stack_repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.restore.delta import DeltaOptions, DeltaPlan, DeltaResult, Difference
    from holdfast.services.postgres.facts import PostgresFacts


@dataclass(frozen=True)
class DeltaRequest:
    """What a user asks for; ``tablespaces`` maps names to directories."""

    service: str
    target: Path
    snapshot: str = "latest"
    repository: str | None = None
    tablespaces: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedDelta:
    """A delta restore that is planned and allowed; nothing is compared yet."""

    delta: DeltaPlan
    facts: PostgresFacts
    options: DeltaOptions


@contextmanager
def prepared_delta(stack: Stack, request: DeltaRequest) -> Iterator[PreparedDelta]:
    """Plan a delta restore, and hold the copy against a second one while the block lasts; nothing is written.

    Raises UsageError for a copy that is in use, of another cluster, or none; BusyError when another run has it.
    """
    if not request.target.is_absolute():
        raise UsageError(f"{request.target} is not an absolute path", hint=f"did you mean {request.target.absolute()}?")
    _, config = choose_repository(stack, asked=request.repository, service=request.service)
    with ThreadPoolExecutor(1) as pool:  # the passphrase takes half a second of another core: load modules meanwhile
        opening = pool.submit(open_stack_repository, stack, request.repository, request.service)
        from holdfast.postgres.running import require_stopped
        from holdfast.restore.delta import DeltaOptions, locked, plan_delta, set_aside_path
        from holdfast.restore.marker import marked_facts
        from holdfast.services.postgres.copies import MAY_BE_LINKS, places_of_copy, require_copy, require_tablespaces
        from holdfast.services.postgres.facts import from_facts
        from holdfast.services.postgres.layout import PostgresLayout

        repository = opening.result()
    snapshot = repository.survey_snapshots().of(stack.stack, request.service).choose_restorable(request.snapshot)
    facts = from_facts(snapshot.facts, snapshot.object_name)
    target = request.target.resolve()
    aside = set_aside_path(PostgresLayout(facts, target, {}))
    marked = marked_facts(target).get("system_identifier")
    require_copy(target, facts, aside, str(marked) if marked else None)
    places = places_of_copy(target, facts, request.tablespaces)
    layout = PostgresLayout(facts, target, places)
    new = require_tablespaces(target, layout.roots, places)
    with locked(target):
        delta = plan_delta(repository, snapshot, layout, new)
        options = DeltaOptions(MAY_BE_LINKS, partial(require_stopped, target), config.threads or DeltaOptions.threads)
        yield PreparedDelta(delta, facts, options)


def compare(prepared: PreparedDelta, reporter: Reporter) -> Difference:
    """Compare the copy with the snapshot; nothing is changed."""
    from holdfast.restore.delta import compare as compare_copy

    return compare_copy(prepared.delta, prepared.options, reporter)


def rewrite(prepared: PreparedDelta, difference: Difference, reporter: Reporter) -> DeltaResult:
    """Write what differs; raises NoSpaceError before anything is changed when it cannot fit."""
    from holdfast.restore.delta import require_room, run_delta

    require_room(prepared.delta.whole)
    return run_delta(prepared.delta, difference, prepared.options, reporter)
