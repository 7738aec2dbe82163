"""``holdfast restore --target DIR``: put a service back into a new directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.restoring.broken_off import TO_RESUME, saying_how_to_go_on

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.operations.restore import PreparedRestore
    from holdfast.restore.plan import RestorePlan


def restore_to_directory(asked: AskedRestore) -> None:
    """Restore into a directory that is new or empty, and recover to a target where one is given."""
    if asked.to is not None:
        from holdfast.cli.restoring.recovery import restore_and_recover

        restore_and_recover(asked)
        return
    from holdfast import clock
    from holdfast.operations.restore import prepare_restore
    from holdfast.operations.restore import restore as operation

    run = asked.run
    stack = run.stack()
    began = clock.monotonic()
    prepared = prepare_restore(stack, asked.request())
    if asked.dry_run:
        run.output.emit("restore_plan", plan_message(prepared), lambda: plan_words(prepared))
        return
    run.output.say(plan_words(prepared))
    with saying_how_to_go_on(prepared.plan.layout.target, TO_RESUME), run.reporter() as reporter:
        operation(prepared, reporter)
    seconds = clock.monotonic() - began
    message = {**plan_message(prepared), "seconds": round(seconds, 3)}
    run.output.emit("restored", message, lambda: _done_words(prepared, seconds))


def whole_message(plan: RestorePlan) -> dict[str, object]:
    """Return the fields that say what a directory holds after a restore to it, however it is done."""
    return {
        "snapshot": plan.snapshot.id,
        "service": plan.snapshot.service,
        "target": str(plan.layout.target),
        "directories": [str(root) for root in plan.layout.roots],
        "files": len(plan.files),
        "size_bytes": plan.size_bytes,
        "notes": list(plan.layout.notes),
    }


def plan_message(prepared: PreparedRestore) -> dict[str, object]:
    """Return the fields of the message ``restore_plan``."""
    plan = prepared.plan
    return {
        **whole_message(plan),
        "fetched_bytes": plan.fetched_bytes,
        "packs": plan.packs,
        "file_systems": rooms_message(plan),
        "server_version": prepared.facts.version,
        "binaries": str(prepared.binaries.directory) if prepared.binaries else None,
    }


def plan_words(prepared: PreparedRestore) -> str:
    """Return the plan as people read it."""
    plan, facts = prepared.plan, prepared.facts
    found = f"found in {prepared.binaries.directory}" if prepared.binaries else "NOT FOUND on this machine"
    lines = [
        f"snapshot {plan.snapshot.short_id} of {plan.snapshot.service}, taken {text.when(plan.snapshot.started)}",
        f"  to {plan.layout.target}: {text.size(plan.size_bytes)} in {text.count(len(plan.files), 'file')}",
        f"  fetching {text.size(plan.fetched_bytes)} from {text.count(plan.packs, 'pack')}",
        f"  needs PostgreSQL {facts.major} ({found})",
    ]
    return "\n".join([*lines, *rooms_words(plan), *(f"  {note}" for note in plan.layout.notes)])


def rooms_message(plan: RestorePlan) -> list[dict[str, object]]:
    """Return how much room a restore takes on each file system, and how much there is."""
    return [
        {"path": str(room.path), "needed_bytes": room.needed_bytes, "free_bytes": room.free_bytes}
        for room in plan.rooms
    ]


def rooms_words(plan: RestorePlan) -> list[str]:
    """Return the same as people read it, a line each."""
    return [f"  {r.path}: {text.size(r.needed_bytes)} of {text.size(r.free_bytes)} free" for r in plan.rooms]


def pg_ctl_command(prepared: PreparedRestore, action: str) -> str:
    """Return how what was restored is started or stopped; the program by its bare name where it is not here."""
    binaries = prepared.binaries
    program = binaries.program("pg_ctl") if binaries and binaries.has_program("pg_ctl") else "pg_ctl"
    return f"{program} -D {prepared.plan.layout.target} {action}"


def _done_words(prepared: PreparedRestore, seconds: float) -> str:
    plan = prepared.plan
    return (
        f"restored {plan.snapshot.service} to {plan.layout.target}: {text.size(plan.size_bytes)} "
        f"in {text.duration(seconds)}\n"
        f"start it as the owner of the directory: {pg_ctl_command(prepared, 'start')}"
    )
