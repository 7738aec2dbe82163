"""``holdfast wal push``: what ``archive_command`` runs. ``cli.entry`` has a shorter way."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service


def push(
    ctx: typer.Context,
    service: Service,
    path: str = typer.Argument(help="The WAL file, as PostgreSQL gives it: %p."),
    settings: Path | None = typer.Option(
        None, "--settings", metavar="FILE", help="The compiled settings that 'holdfast wal setup' wrote into the spool."
    ),
) -> None:
    """Store one WAL file of a service in its archive; done only when it is durable there."""
    from holdfast.operations.wal.compilation import settings_path
    from holdfast.operations.wal.push import push as operation

    run = Invocation.of(ctx)
    place = settings or settings_path(run.stack(), service)
    result = operation(service, path, str(place))
    for warning in result.warnings:
        run.output.say(f"warning: {warning}")
    shipped = result.shipped
    outcome = shipped.outcome.value if shipped else "given up"
    message = {
        "file": shipped.name if shipped else None,
        "outcome": outcome,
        "size_bytes": shipped.size_bytes if shipped else 0,
        "ahead": result.ahead,
        "warnings": list(result.warnings),
    }
    run.output.emit("wal_pushed", message, lambda: f"{os.path.basename(path)}: {outcome}")
