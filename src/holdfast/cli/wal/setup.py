"""``holdfast wal setup``: make archiving ready, and say what the server must be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service

if TYPE_CHECKING:
    from holdfast.operations.wal.setup import ArchivingSetup


def setup(
    ctx: typer.Context,
    service: Service,
) -> None:
    """Make the spool and the compiled settings of a service, and print the lines for its postgresql.conf."""
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.operations.wal.setup import set_up

    run = Invocation.of(ctx)
    stack_file = find_stack_file(run.config)
    result = set_up(stack_file, load_stack(stack_file), service)
    run.output.emit("wal_set_up", result, lambda: _words(result))


def _words(result: ArchivingSetup) -> str:
    effect = "restart the server" if result.needs_restart else "reload the server's configuration"
    return "\n".join(
        [
            f"# {result.service}: system identifier {result.system_identifier}, spool {result.spool}",
            f"# put these lines into the postgresql.conf of {result.data_directory}, then {effect}:",
            *result.lines(),
            f"# to ship ahead, so that archive_command only looks: holdfast wal serve {result.service}",
        ]
    )
