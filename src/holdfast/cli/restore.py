"""``holdfast restore``: put a service back, into a new directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import service_names, snapshot_ids
from holdfast.cli.invocation import Invocation
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.operations.restore import PreparedRestore


def restore(
    ctx: typer.Context,
    service: str = typer.Argument(help="The service, by its name in the stack file.", autocompletion=service_names),
    target: Path = typer.Option(..., "--target", metavar="DIR", help="The directory to restore to: new or empty."),
    snapshot: str = typer.Option(
        "latest", "--snapshot", metavar="ID", help="The snapshot, by its first digits.", autocompletion=snapshot_ids
    ),
    tablespace: list[str] = typer.Option(
        [], "--tablespace", metavar="NAME=DIR", help="Put a tablespace elsewhere; may be repeated."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with a restore that was broken off in the target."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and stop."),
) -> None:
    """Restore a service from a snapshot into a directory that is new or empty."""
    from holdfast import clock
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.operations.restore import RestoreRequest, prepare_restore
    from holdfast.operations.restore import restore as operation

    run = Invocation.of(ctx)
    stack = load_stack(find_stack_file(run.config))
    places = dict(_tablespace(words) for words in tablespace)
    began = clock.monotonic()
    prepared = prepare_restore(stack, RestoreRequest(service, target, snapshot, run.repository, places, resume))
    if dry_run:
        run.output.emit("restore_plan", _plan_message(prepared), lambda: _plan_words(prepared))
        return
    run.output.say(_plan_words(prepared))
    with run.reporter() as reporter:
        operation(prepared, reporter)
    seconds = clock.monotonic() - began
    message = {**_plan_message(prepared), "seconds": round(seconds, 3)}
    run.output.emit("restored", message, lambda: _done_words(prepared, seconds))


def _tablespace(words: str) -> tuple[str, Path]:
    name, equals, place = words.rpartition("=")
    if not equals or not name or not place:
        raise UsageError(f"not a tablespace and its directory: {words!r}", hint="write --tablespace NAME=/absolute/dir")
    return name, Path(place)


def _plan_message(prepared: PreparedRestore) -> dict[str, object]:
    plan = prepared.plan
    return {
        "snapshot": plan.snapshot.id,
        "service": plan.snapshot.service,
        "target": str(plan.layout.target),
        "directories": [str(root) for root in plan.layout.roots],
        "files": len(plan.files),
        "size_bytes": plan.size_bytes,
        "fetched_bytes": plan.fetched_bytes,
        "packs": plan.packs,
        "file_systems": [
            {"path": str(room.path), "needed_bytes": room.needed_bytes, "free_bytes": room.free_bytes}
            for room in plan.rooms
        ],
        "server_version": prepared.facts.version,
        "binaries": str(prepared.binaries.directory) if prepared.binaries else None,
        "notes": list(plan.layout.notes),
    }


def _plan_words(prepared: PreparedRestore) -> str:
    plan, facts = prepared.plan, prepared.facts
    found = f"found in {prepared.binaries.directory}" if prepared.binaries else "NOT FOUND on this machine"
    lines = [
        f"snapshot {plan.snapshot.short_id} of {plan.snapshot.service}, taken {_when(plan.snapshot.started)}",
        f"  to {plan.layout.target}: {text.size(plan.size_bytes)} in {text.count(len(plan.files), 'file')}",
        f"  fetching {text.size(plan.fetched_bytes)} from {text.count(plan.packs, 'pack')}",
        f"  needs PostgreSQL {facts.major} ({found})",
    ]
    lines += [f"  {r.path}: {text.size(r.needed_bytes)} of {text.size(r.free_bytes)} free" for r in plan.rooms]
    return "\n".join([*lines, *(f"  {note}" for note in plan.layout.notes)])


def _done_words(prepared: PreparedRestore, seconds: float) -> str:
    plan = prepared.plan
    program = prepared.binaries.program("pg_ctl") if prepared.binaries else "pg_ctl"
    return (
        f"restored {plan.snapshot.service} to {plan.layout.target}: {text.size(plan.size_bytes)} "
        f"in {text.duration(seconds)}\n"
        f"start it as the owner of the directory: {program} -D {plan.layout.target} start"
    )


def _when(stored: str) -> str:
    from datetime import datetime

    return text.instant(datetime.fromisoformat(stored))
