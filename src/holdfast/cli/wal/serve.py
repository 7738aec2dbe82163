"""``holdfast wal serve``: the resident process. It begins anew by the short way, without what only this page needs."""

from __future__ import annotations

import os
import sys

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service


def serve(
    ctx: typer.Context,
    service: Service,
    settings: str = typer.Option(
        "", "--settings", metavar="FILE", help="The compiled settings, where they are not in the service's spool."
    ),
) -> None:
    """Ship the WAL of a service before archive_command asks for it; runs until it is stopped (SIGTERM)."""
    from holdfast.operations.wal.compilation import settings_path
    from holdfast.wal.settings import read_settings

    run = Invocation.of(ctx)
    path = settings or str(settings_path(run.stack(), service))
    read_settings(path)  # complaints are made here, where they can be made in JSON
    start = "from holdfast.cli.entry import run; run()"
    command = [sys.executable, "-I", "-c", start, "wal", "serve", service, "--settings", path]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
