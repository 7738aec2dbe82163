"""``holdfast wal adopt``: a restored cluster takes the place of its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service

if TYPE_CHECKING:
    from holdfast.operations.wal.adopt import Adoption


def adopt(
    ctx: typer.Context,
    service: Service,
    apply: bool = typer.Option(
        False,
        "--apply",
        help="Reset the settings that the restore left, too (ALTER SYSTEM); a restart puts it in effect.",
    ),
) -> None:
    """Let a cluster that was restored, and promoted onto a timeline of its own, write into its origin's archive."""
    from holdfast.operations.wal.adopt import adopt as operation
    from holdfast.operations.wal.adopt import reset_settings

    run = Invocation.of(ctx)
    stack = run.stack()
    adoption = operation(stack, service, run.repository)
    if apply:
        reset_settings(stack, service, adoption)
    message = {
        "service": service,
        "data_directory": str(adoption.data_directory),
        "timeline": int(adoption.timeline),
        "adopted": adoption.adopted,
        "is_new": adoption.is_new,
        "statements": list(adoption.statements),
        "statements_are_applied": apply,
    }
    run.output.emit("wal_adopted", message, lambda: _words(service, adoption, is_applied=apply))


def _words(service: str, adoption: Adoption, *, is_applied: bool) -> str:
    when = "" if adoption.is_new else f" already, at {adoption.adopted}"
    lines = [
        f"adopted{when}: {adoption.data_directory} writes timeline {adoption.timeline} into the archive of {service}"
    ]
    if adoption.statements and is_applied:
        lines.append("the settings that the restore left are reset; restart the server")
    elif adoption.statements:
        lines.append(
            "the restore left settings that keep it from archiving: run these statements, then restart the server"
        )
        lines += [f"  {statement};" for statement in adoption.statements]
    lines.append(f"then run 'holdfast wal setup {service}', and take a backup")
    return "\n".join(lines)
