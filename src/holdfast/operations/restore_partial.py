"""Get a database, or some tables of one, back from any instant: read out of a cluster that is thrown away again.

The live cluster is not touched. The snapshot is restored to a temporary directory, recovered there to the target on a
private socket, read, and removed, however it ends. Databases that are not wanted are left out where recovery is proven
to cope (``services.postgres.part_layout``); where that proof fails, all is done again with the whole cluster.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from holdfast.config.choose import choose_service
from holdfast.errors import UsageError
from holdfast.operations.new_file import is_there, new_file
from holdfast.operations.recovery.plan import RecoveryRequest, prepare_recovery
from holdfast.operations.recovery.run import recovered
from holdfast.operations.restore import RestoreRequest, restore
from holdfast.postgres.connection import connect
from holdfast.postgres.facts import read_databases
from holdfast.restore.target import ImmediateGoal
from holdfast.restore.throwaway import new_throw_away_path, throw_away_directory
from holdfast.services.postgres.dump_program import DumpProgram, find_dump_program
from holdfast.services.postgres.extract import write_rows
from holdfast.services.postgres.load import (
    load_rows,
    load_with_schema,
    require_absent,
    require_loadable,
    require_schemas,
)
from holdfast.services.postgres.part_layout import PartLayout
from holdfast.services.postgres.parts import choose_database, choose_tables, list_tables, named_tables, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.operations.recovery.catch_up import CatchUp
    from holdfast.operations.recovery.plan import PreparedRecovery
    from holdfast.operations.recovery.run import RecoveredServer
    from holdfast.postgres.connection import Connection
    from holdfast.postgres.timeline import Timeline
    from holdfast.progress import Reporter
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.target import RecoveryTarget
    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.services.postgres.parts import Table

_DATA = "data"
_TALKATIVE_WAL_BYTES = 4 << 30


@dataclass(frozen=True)
class PartRequest:
    """What a user asks for: ``tables`` empty means the whole database; exactly one of ``into`` and ``output`` is set.

    ``database`` None: the only one that users made. ``catch_up`` as of a RecoveryRequest.
    """

    service: str
    target: RecoveryTarget
    database: str | None
    tables: tuple[str, ...]
    into: str | None
    output: Path | None
    snapshot: str
    repository: str | None
    catch_up: CatchUp


class _LayoutMaker(Protocol):
    def __call__(self, facts: PostgresFacts, data: Path, request: PartRequest) -> PartLayout: ...


@dataclass(frozen=True)
class PreparedPart:
    """A part that can be had: where it will be read from, and by which program (None: rows alone, by COPY)."""

    request: PartRequest
    recovery: PreparedRecovery
    layout: PartLayout
    database: str
    program: Path | None


@dataclass(frozen=True)
class PartResult:
    """What was read, and from which state; ``size_bytes`` of the file that was written, None for a database."""

    tables: tuple[str, ...]
    reached: Reached
    new_timeline: Timeline
    size_bytes: int | None


class _UnprovenError(Exception):
    """What was left out was needed after all; the text says for what."""


def prepare_part(stack: Stack, request: PartRequest, reporter: Reporter) -> PreparedPart:
    """Plan it; nothing is written. Raises whatever stands in its way, as far as it can be known before."""
    _require_sense(request)
    if request.into is None:
        return _prepare(stack, request, reporter, _only_the_database)
    with _open_to_load(request.into) as into:
        prepared = _prepare(stack, request, reporter, _only_the_database)
        if prepared.program is not None:
            require_schemas(into, named_tables(request.tables))
            require_absent(into, named_tables(request.tables))
    return prepared


def restore_part(stack: Stack, prepared: PreparedPart, reporter: Reporter) -> PartResult:
    """Restore, recover, read and deliver; the throw-away cluster is removed in any case."""
    try:
        return _carry_out(prepared, reporter)
    except _UnprovenError as error:
        reporter.notice(f"{error}: starting again with the whole cluster")
    return _carry_out(_prepare(stack, prepared.request, reporter, _everything), reporter)


def _prepare(stack: Stack, request: PartRequest, reporter: Reporter, make_layout: _LayoutMaker) -> PreparedPart:
    data = new_throw_away_path() / _DATA
    wanted = RestoreRequest(
        request.service,
        data,
        request.snapshot,
        request.repository,
        make_layout=lambda facts: make_layout(facts, data, request),
    )
    recovery = prepare_recovery(stack, RecoveryRequest(wanted, request.target, request.catch_up), reporter)
    facts, layout = recovery.restore.facts, recovery.restore.plan.layout
    assert isinstance(layout, PartLayout)
    if layout.number is not None and _would_say_too_much(recovery):
        return _prepare(stack, request, reporter, _everything)
    dump_program = find_dump_program(facts.major, choose_service(stack, request.service).binaries)
    return PreparedPart(request, recovery, layout, _meant_database(facts, request), dump_program)


def _would_say_too_much(recovery: PreparedRecovery) -> bool:
    """Return whether the server's log, a few lines for each page that is left out, may grow as long as the WAL.

    Without page checksums, pages that VACUUM finds visible to all are not in the WAL as images.
    """
    return not recovery.restore.facts.has_data_checksums and recovery.replayed_bytes > _TALKATIVE_WAL_BYTES


def _only_the_database(facts: PostgresFacts, data: Path, request: PartRequest) -> PartLayout:
    return PartLayout(facts, data, _meant_database(facts, request))


def _everything(facts: PostgresFacts, data: Path, request: PartRequest) -> PartLayout:  # noqa: ARG001
    return PartLayout(facts, data, None)


def _meant_database(facts: PostgresFacts, request: PartRequest) -> str:
    """Return the database that is meant; one that the snapshot has not may have been made before the target."""
    is_later = not isinstance(request.target.goal, ImmediateGoal)
    if request.database is not None and request.database not in facts.databases and is_later:
        return request.database
    return choose_database(facts.databases, request.database)


def _carry_out(prepared: PreparedPart, reporter: Reporter) -> PartResult:
    data = prepared.layout.target
    with throw_away_directory(data.parent), ExitStack() as stack:
        # Opened first, removed with the rest when anything fails: what stands in its way shows at once
        output = prepared.request.output
        file = stack.enter_context(new_file(output)) if output else None
        restore(prepared.recovery.restore, reporter)
        server = stack.enter_context(recovered(prepared.recovery, data, reporter))
        reporter.phase("promoting")
        new_timeline = server.promote()
        _require_proven(prepared.layout, server)
        source = stack.enter_context(closing(_connect(prepared, server)))
        tables = _tables(source, prepared.request)
        conninfo = server.conninfo(dbname=prepared.database)
        reporter.phase(f"reading {_what(prepared, tables)}")
        _deliver(prepared, source, conninfo, tables, file)
        size = os.fstat(file.fileno()).st_size if file else None
        return PartResult(tuple(map(str, tables)), server.reached, new_timeline, size)


def _tables(source: Connection, request: PartRequest) -> Sequence[Table]:
    """Return the tables that are meant. Where one is not there, and nobody said when, it may have been made later."""
    if not request.tables:
        return list_tables(source)
    try:
        return choose_tables(source, request.tables)
    except UsageError as error:
        if not isinstance(request.target.goal, ImmediateGoal):
            raise
        hint = f"{error.hint}; this is the end of the snapshot, and --to names another instant"
        raise UsageError(error.message, hint=hint) from error


def _require_proven(layout: PartLayout, server: RecoveredServer) -> None:
    missed = layout.missed_pages(server.log())
    if missed:
        raise _UnprovenError(f"recovery missed pages of {missed[0]}")


def _connect(prepared: PreparedPart, server: RecoveredServer) -> Connection:
    """Connect to the database; UsageError with near names when there is none, _UnprovenError when it is not whole."""
    with closing(connect(server.conninfo())) as connection:
        numbers = read_databases(connection)
    choose_database(list(numbers), prepared.database)
    if prepared.layout.number not in {None, numbers[prepared.database]}:
        raise _UnprovenError(f"database {prepared.database} was made anew after the snapshot")
    return connect(server.conninfo(dbname=prepared.database))


def _deliver(
    prepared: PreparedPart, source: Connection, conninfo: str, tables: Sequence[Table], file: IO[bytes] | None
) -> None:
    """Write the part to the file, or load it into the database that was asked for."""
    chosen = tables if prepared.request.tables else ()
    dump = DumpProgram(prepared.program, conninfo, chosen) if prepared.program else None
    if file is not None:
        if dump is not None:
            dump.write(file)
        else:
            write_rows(source, tables, file, prepared.recovery.restore.facts.major)
        file.flush()
        os.fsync(file.fileno())
        return
    assert prepared.request.into is not None
    with _open_to_load(prepared.request.into) as into:
        if dump is None:
            load_rows(source, into, tables)
            return
        require_schemas(into, chosen)
        load_with_schema(source, into, dump, tables)


@contextmanager
def _open_to_load(url: str) -> Iterator[Connection]:
    with closing(connect(url)) as into:
        require_loadable(into)
        yield into


def _require_sense(request: PartRequest) -> None:
    if (request.into is None) == (request.output is None):
        raise UsageError(
            "say where the part is to go: --into URL or --output FILE, one of them",
            hint="--output part.sql writes it to a file; --into loads it into a running database",
        )
    for words in request.tables:
        parse_name(words)
    if request.output is not None and request.output.exists():
        raise is_there(request.output)


def _what(prepared: PreparedPart, tables: Sequence[Table]) -> str:
    names = [str(table) for table in tables] if prepared.request.tables else [f"database {prepared.database}"]
    return ", ".join(names[:3]) + (" and more" if len(names) > len(names[:3]) else "")
