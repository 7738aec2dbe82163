"""``holdfast find``: which snapshots hold a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import service_names, snapshot_ids
from holdfast.cli.invocation import Invocation
from holdfast.cli.ls import modified
from holdfast.cli.output import Column

if TYPE_CHECKING:
    from holdfast.operations.finding import FoundVersion

_IDS_SHOWN = 4


def find(
    ctx: typer.Context,
    pattern: str = typer.Argument(
        help="A glob (* ? [a-z]): of the whole path where it holds a slash, else of the name alone."
    ),
    service: str = typer.Option(
        "", "--service", metavar="NAME", help="Look in the snapshots of one service.", autocompletion=service_names
    ),
    snapshot: str = typer.Option(
        "", "--snapshot", metavar="ID", help="Look in one snapshot only.", autocompletion=snapshot_ids
    ),
) -> None:
    """Find a path in all snapshots: each version of it, and which snapshots hold that version."""
    from holdfast.operations.finding import FindRequest
    from holdfast.operations.finding import find as operation

    run = Invocation.of(ctx)
    stack = run.stack()
    found = operation(stack, FindRequest(pattern, service, snapshot, run.repository))
    if not found:
        run.output.say("nothing matches; the pattern must match the whole name: try '*WORD*'")
    else:
        run.output.table("found", found, _columns(), _message)


def _message(version: FoundVersion) -> dict[str, object]:
    return {
        "path": version.path,
        "kind": version.kind.name.lower(),
        "size_bytes": version.size_bytes,
        "mtime_ns": version.mtime_ns,
        "snapshots": [snapshot.id for snapshot in version.snapshots],
    }


def _columns() -> list[Column[FoundVersion]]:
    from holdfast.repository.names import shown

    return [
        Column("size", lambda version: text.size(version.size_bytes), is_number=True),
        Column("modified", lambda version: modified(version.mtime_ns)),
        Column("path", lambda version: shown(version.path)),
        Column("snapshots", _ids),
    ]


def _ids(version: FoundVersion) -> str:
    """Return the ids of a version's snapshots, oldest first; of many, the first and the last."""
    ids = [snapshot.short_id for snapshot in version.snapshots]
    return " ".join(ids) if len(ids) <= _IDS_SHOWN else f"{ids[0]} … {ids[-1]} ({len(ids)} snapshots)"
