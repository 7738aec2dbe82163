"""``holdfast wal discard``: delete bytes that were refused and kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.agreement import require_agreement
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service

if TYPE_CHECKING:
    from holdfast.operations.wal.discard import KeptApart


def discard(
    ctx: typer.Context,
    service: Service,
    name: str = typer.Argument(help="What to delete: FILE.conflict-..., as 'holdfast wal status' names it."),
    output: Path | None = typer.Option(None, "--output", "-o", help="Keep a copy in this new file.", metavar="FILE"),
    yes: bool = typer.Option(False, "--yes", help="Do not ask for the service's name before deleting."),
) -> None:
    """Delete bytes that were refused and kept apart, when you know which server they came from; no other file.

    Recovery never reads them. They are all there is of what that server wrote then: --output keeps a copy.
    """
    from holdfast.operations.wal.discard import discard as operation
    from holdfast.operations.wal.discard import find_kept_apart

    run = Invocation.of(ctx)
    kept = find_kept_apart(run.stack(), service, name, run.repository)
    run.output.say(_words(kept))
    if not yes:
        require_agreement(run, service, f"{name} is to be deleted", "these bytes will be deleted for good")
    operation(kept, output)
    message = {
        "service": service,
        "name": kept.name,
        "taken_name": kept.taken,
        "size_bytes": kept.refused.length_bytes,
        "archived": kept.refused.archived,
        "host": kept.refused.host,
        "first_archived": kept.first.archived,
        "first_host": kept.first.host,
        "copy": None if output is None else str(output),
    }
    copied = f", having copied it to {output}" if output is not None else ""
    run.output.emit("wal_discarded", message, lambda: f"deleted {name}{copied}")


def _words(kept: KeptApart) -> str:
    refused, first = kept.refused, kept.first
    return (
        f"{text.size(refused.length_bytes)}, pushed as {kept.taken} by {refused.host} at {refused.archived}\n"
        f"the archive had other bytes under that name, of {first.host} at {first.archived}: recovery reads those"
    )
