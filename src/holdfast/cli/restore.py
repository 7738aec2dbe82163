"""``holdfast restore``: put a service back: to a directory, in place, or a part of it, at any instant."""

from __future__ import annotations

from pathlib import Path

import typer

from holdfast.cli.completion import snapshot_ids
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service
from holdfast.cli.restoring.asked import AskedRestore, Way


def restore(
    ctx: typer.Context,
    service: Service,
    target: Path | None = typer.Option(
        None, "--target", metavar="DIR", help="The directory to restore to: new or empty. Without it: in place."
    ),
    to: str | None = typer.Option(
        None,
        "--to",
        metavar="TARGET",
        help="Recover to a time ('2026-11-20 14:03 Europe/Berlin', '10 minutes ago'), an LSN, xid:N, name:X, "
        "latest or immediate.",
    ),
    exclusive: bool = typer.Option(False, "--exclusive", help="Stop just before the target, not just after it."),
    timeline: str | None = typer.Option(
        None, "--timeline", metavar="N", help="The timeline to follow: a number, latest (as without it) or current."
    ),
    action: str | None = typer.Option(
        None, "--action", metavar="WHAT", help="What then: promote (as without it), pause or shutdown."
    ),
    snapshot: str = typer.Option(
        "latest",
        "--snapshot",
        metavar="ID",
        help="The snapshot, by its first digits; latest: the newest that suits the target.",
        autocompletion=snapshot_ids,
    ),
    tablespace: list[str] = typer.Option(
        [], "--tablespace", metavar="NAME=DIR", help="Put a tablespace elsewhere; may be repeated."
    ),
    database: str | None = typer.Option(None, "--database", metavar="NAME", help="Restore this database only."),
    table: list[str] = typer.Option(
        [], "--table", metavar="SCHEMA.NAME", help="Restore this table of --database only; may be repeated."
    ),
    into: str | None = typer.Option(
        None, "--into", metavar="URL", help="Load --database or --table into this running database."
    ),
    output: Path | None = typer.Option(
        None, "--output", metavar="FILE", help="Write --database or --table to this file."
    ),
    delta: bool = typer.Option(False, "--delta", help="Bring --target, an older or damaged copy, up to date."),
    resume: bool = typer.Option(False, "--resume", help="Go on with a restore that was broken off in the target."),
    undo: bool = typer.Option(False, "--undo", help="Put back what was there before the last restore in place."),
    drop_checkpoint: bool = typer.Option(
        False, "--drop-checkpoint", help="Delete what was there before restores in place."
    ),
    checkpoint: str | None = typer.Option(
        None,
        "--checkpoint",
        metavar="ID",
        help="The one that --undo (without it: the newest) or --drop-checkpoint (all) means, by its first digits; "
        "or what a restore that was cut off had staged.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Do not ask for the service's name before changing it in place."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and stop."),
) -> None:
    """Restore a service: to a new directory (--target), in place, or a part of it; --to chooses the instant."""
    asked = AskedRestore(
        run=Invocation.of(ctx),
        service=service,
        target=target,
        snapshot=snapshot,
        to=to,
        exclusive=exclusive,
        timeline=timeline,
        action=action,
        tablespace=tuple(tablespace),
        resume=resume,
        dry_run=dry_run,
        delta=delta,
        undo=undo,
        drop_checkpoint=drop_checkpoint,
        checkpoint=checkpoint,
        yes=yes,
        database=database,
        table=tuple(table),
        into=into,
        output=output,
    )
    asked.require_sense()
    _carry_out(asked)


def _carry_out(asked: AskedRestore) -> None:
    """Call the way of restoring that was asked for; only its module is imported."""
    match asked.way:
        case Way.TO_DIRECTORY:
            from holdfast.cli.restoring.to_directory import restore_to_directory

            restore_to_directory(asked)
        case Way.DELTA:
            from holdfast.cli.restoring.delta import restore_delta

            restore_delta(asked)
        case Way.PARTIAL:
            from holdfast.cli.restoring.partial import restore_part

            restore_part(asked)
        case Way.IN_PLACE:
            from holdfast.cli.restoring.in_place import restore_in_place

            restore_in_place(asked)
        case Way.UNDO:
            from holdfast.cli.restoring.in_place import undo

            undo(asked)
        case Way.DROP_CHECKPOINT:
            from holdfast.cli.restoring.in_place import drop_checkpoint

            drop_checkpoint(asked)
