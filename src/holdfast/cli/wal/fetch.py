"""``holdfast wal fetch``: what ``restore_command`` runs. ``cli.wal.recovering`` wraps it, and has a shorter way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service
from holdfast.wal.restore_command import NOT_THERE_EXIT, STOP_EXIT, Verdict, taking_arguments

if TYPE_CHECKING:
    from holdfast.operations.wal.fetch import FetchRequest


def fetch(
    ctx: typer.Context,
    service: Service,
    name: str = typer.Argument(help="The WAL file, as PostgreSQL names it: %f."),
    path: Path = typer.Argument(help="Where to put it, as PostgreSQL gives it: %p."),
    idle: float = typer.Option(
        60.0, "--idle", metavar="SECONDS", min=1, help="How long the process that fetches ahead stays when unasked."
    ),
    not_there_exit: int = typer.Option(
        1, "--not-there-exit", metavar="CODE", min=1, max=125, help="What to end with when the archive lacks the file."
    ),
) -> None:
    """Fetch one WAL file of a service: 0 done, 1 not in the archive, above 125 recovery must stop."""
    from holdfast.operations.wal.fetch import FetchRequest, cluster_at
    from holdfast.operations.wal.supplier import spool_beside, start_supplier

    run = Invocation.of(ctx)
    request = FetchRequest(service, name, path, run.repository, idle)
    cluster = cluster_at(path)
    if cluster is None:
        _fetch_for_a_person(run, request)
        return
    start_supplier(request, cluster, run.stack)
    shell = taking_arguments(os.fspath(spool_beside(path)), name, os.fspath(path), NOT_THERE_EXIT)
    code = subprocess.call(shell)
    raise typer.Exit(code if code >= 0 else STOP_EXIT)


def _fetch_for_a_person(run: Invocation, request: FetchRequest) -> None:
    from holdfast.operations.wal.fetch import fetch_once

    fetched = fetch_once(run.stack(), request)
    if fetched.gap is not None:
        raise fetched.gap
    message = {"file": request.name, "outcome": fetched.verdict.value, "size_bytes": fetched.length_bytes}
    words = {
        Verdict.READY: f"{request.name}: {fetched.length_bytes} bytes",
        Verdict.PART: f"{request.name}: its first {fetched.length_bytes} bytes, and zeros: no more of it is archived",
        Verdict.ABSENT: f"{request.name}: not in the archive",
    }
    run.output.emit("wal_fetched", message, lambda: words[fetched.verdict])
    if fetched.verdict is Verdict.ABSENT:
        raise typer.Exit(NOT_THERE_EXIT)
