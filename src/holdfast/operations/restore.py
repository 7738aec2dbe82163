"""Restore one service to a target directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from holdfast.config.choose import choose_repository, choose_service
from holdfast.errors import UsageError
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.names import is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.postgres.binaries import Binaries
    from holdfast.progress import Reporter
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.plan import RestorePlan
    from holdfast.restore.run import RestoreOptions
    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.services.postgres.layout import PostgresLayout

RESTORE_NEEDS = ("holdfast.restore.run", "holdfast.services.postgres.layout")


@dataclass(frozen=True)
class RestoreRequest:
    """What a user asks for; ``tablespaces`` maps names to directories.

    ``tablespace_part`` is a directory within that of each tablespace, into which its content goes: a restore that is
    staged for later puts it beside what is in service there. ``make_layout`` says where the
    files go, in place of all this. ``freed`` are directories that are deleted before: their room counts as free.
    """

    service: str
    target: Path
    snapshot: str = "latest"
    repository: str | None = None
    tablespaces: Mapping[str, Path] = field(default_factory=dict)
    resumes: bool = False
    tablespace_part: str = ""
    make_layout: Callable[[PostgresFacts], PostgresLayout] | None = None
    freed: tuple[Path, ...] = ()


@dataclass(frozen=True)
class PreparedRestore:
    """A restore that is planned and possible; ``bin_directory`` is where the service's programs are said to be."""

    plan: RestorePlan
    facts: PostgresFacts
    bin_directory: Path | None
    repository: Repository
    reader: ChunkReader
    options: RestoreOptions

    @cached_property
    def binaries(self) -> Binaries | None:
        """The programs that can run the result, if there are any on this machine; asking them takes a moment."""
        from holdfast.postgres.binaries import find_binaries

        return find_binaries(self.facts.major, self.bin_directory)


class PrepareRestore(Protocol):
    """Plans the restore of a snapshot that was chosen already."""

    def __call__(
        self, stack: Stack, request: RestoreRequest, repository: Repository, snapshot: Snapshot
    ) -> PreparedRestore:
        """Return the plan; nothing is written."""
        ...


def prepare_restore_of(
    stack: Stack, request: RestoreRequest, repository: Repository, snapshot: Snapshot
) -> PreparedRestore:
    """Plan the restore of a snapshot that was chosen already; ``request.snapshot`` does not count."""
    from holdfast.restore.run import RestoreOptions, plan_restore
    from holdfast.services.postgres.facts import from_facts
    from holdfast.services.postgres.layout import PostgresLayout

    _, config = choose_repository(stack, asked=request.repository, service=request.service)
    facts = from_facts(snapshot.facts, snapshot.object_name)
    layout = (
        request.make_layout(facts)
        if request.make_layout
        else PostgresLayout(facts, request.target, request.tablespaces, request.tablespace_part)
    )
    options = RestoreOptions(request.resumes, config.threads or RestoreOptions.threads, request.freed)
    plan, reader = plan_restore(repository, snapshot, layout, options)
    bin_directory = choose_service(stack, request.service).binaries
    return PreparedRestore(plan, facts, bin_directory, repository, reader, options)


def prepare_restore(
    stack: Stack,
    request: RestoreRequest,
    prepare: PrepareRestore = prepare_restore_of,
    needs: Iterable[str] = RESTORE_NEEDS,
) -> PreparedRestore:
    """Choose a snapshot and plan its restore; nothing is written. Raises what stands in its way.

    ``prepare`` plans the restore of the chosen snapshot: into new directories, unless it is given. ``needs`` names the
    modules that it imports.
    """
    require_absolute(request.target)
    repository = open_stack_repository(stack, request.repository, request.service, needs=needs)
    survey = repository.survey_snapshots().of(stack.stack, request.service)
    return prepare(stack, request, repository, survey.choose_restorable(request.snapshot))


def require_absolute(target: Path) -> None:
    """Raise UsageError for a path that is relative, which the server's account has not, or that no record can hold."""
    if not is_text(str(target)):
        raise UsageError(f"{target} is no text in UTF-8", hint="restore to a directory whose name is")
    if not target.is_absolute():
        raise UsageError(f"{target} is not an absolute path", hint=f"did you mean {target.absolute()}?")


def restore(prepared: PreparedRestore, reporter: Reporter) -> None:
    """Carry a planned restore out."""
    from holdfast.restore.run import run_restore

    run_restore(prepared.repository, prepared.plan, prepared.reader, prepared.options, reporter)
