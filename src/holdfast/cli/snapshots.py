"""``holdfast snapshots``: what there is to restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.backup import snapshot_message
from holdfast.cli.invocation import Invocation
from holdfast.cli.output import Column

if TYPE_CHECKING:
    from holdfast.operations.snapshots import SnapshotFilter
    from holdfast.repository.snapshot import Snapshot


def snapshots(
    ctx: typer.Context,
    service: str = typer.Option("", "--service", metavar="NAME", help="Only those of one service."),
    host: str = typer.Option("", "--host", metavar="NAME", help="Only those taken on one host."),
    tag: list[str] = typer.Option([], "--tag", metavar="WORD", help="Only those with this word; several: all of them."),
    since: str = typer.Option("", "--since", metavar="TIME", help="Only those begun at this time or later (ISO 8601)."),
    until: str = typer.Option("", "--until", metavar="TIME", help="Only those begun at this time or earlier."),
) -> None:
    """List the snapshots of a repository, oldest first; exit code 14 when some do not open."""
    from holdfast.operations.snapshots import SnapshotFilter, list_snapshots

    run = Invocation.of(ctx)
    wanted = SnapshotFilter(service, host, frozenset(tag), since, until)
    stack = run.stack()
    survey = list_snapshots(stack, run.repository, wanted)
    if survey.snapshots:
        run.output.table("snapshot", survey.snapshots, _columns(stack.stack), snapshot_message)
    else:
        run.output.say(_none(wanted))
    survey.require_sound()


def _none(wanted: SnapshotFilter) -> str:
    from holdfast.operations.snapshots import SnapshotFilter

    is_filtered = wanted != SnapshotFilter()
    return "no snapshot fits; without options all are listed" if is_filtered else "there is no snapshot yet"


def _state(snapshot: Snapshot) -> str:
    if not snapshot.is_complete:
        return "INCOMPLETE"
    return "complete" if snapshot.is_clean else "CORRUPT SOURCE"


def _service(snapshot: Snapshot, own_stack: str) -> str:
    """Return the service's name; with its stack's where that is not the one of the stack file."""
    return snapshot.service if snapshot.stack == own_stack else f"{snapshot.stack}/{snapshot.service}"


def _columns(own_stack: str) -> list[Column[Snapshot]]:
    return [
        Column("id", lambda snapshot: snapshot.short_id),
        Column("service", lambda snapshot: _service(snapshot, own_stack)),
        Column("host", lambda snapshot: snapshot.host),
        Column("started", lambda snapshot: text.local(snapshot.started)),
        Column("size", lambda snapshot: text.size(snapshot.stats.size_bytes), is_number=True),
        Column("new", lambda snapshot: text.size(snapshot.stats.stored_bytes), is_number=True),
        Column("state", _state),
        Column("tags", lambda snapshot: ",".join(snapshot.tags)),
    ]
