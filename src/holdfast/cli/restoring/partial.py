"""``holdfast restore SERVICE --database D or --table T``: get a part of a cluster back from any instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.restoring.recovery import asked_target, state_message, target_words

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.operations.restore_partial import PartResult, PreparedPart
    from holdfast.restore.target import RecoveryTarget


def restore_part(asked: AskedRestore) -> None:
    """Read a part out of a throw-away cluster, into a file or a running database; a dry run stops after the plan."""
    from holdfast import clock
    from holdfast.operations.restore_partial import PartRequest, prepare_part
    from holdfast.operations.restore_partial import restore_part as operation

    run = asked.run
    target = _target(asked)
    run.output.say(target_words(target))
    request = PartRequest(
        service=asked.service,
        target=target,
        database=asked.database,
        tables=asked.table,
        into=asked.into,
        output=asked.output,
        snapshot=asked.snapshot,
        repository=run.repository,
        catch_up=asked.catch_up,
    )
    stack = run.stack()
    began = clock.monotonic()
    with run.reporter() as reporter:
        prepared = prepare_part(stack, request, reporter)
    if asked.dry_run:
        run.output.emit("part_plan", _plan_message(prepared), lambda: _plan_words(prepared))
        return
    run.output.say(_plan_words(prepared))
    with run.reporter() as reporter:
        result = operation(stack, prepared, reporter)
    seconds = clock.monotonic() - began
    message = {**_plan_message(prepared), **_result_message(result), "seconds": round(seconds, 3)}
    run.output.emit("part_restored", message, lambda: _done_words(prepared, result, seconds))


def _target(asked: AskedRestore) -> RecoveryTarget:
    """Return the target that was asked for, or, without one, the end of the snapshot."""
    from holdfast.restore.target import ImmediateGoal, RecoveryTarget

    return asked_target(asked) if asked.to is not None else RecoveryTarget(ImmediateGoal())


def _plan_message(prepared: PreparedPart) -> dict[str, object]:
    plan, request = prepared.recovery.restore.plan, prepared.request
    return {
        "snapshot": plan.snapshot.id,
        "service": plan.snapshot.service,
        "database": prepared.database,
        "asked_tables": list(request.tables),
        "recovery_target": str(prepared.recovery.target),
        "output": str(request.output) if request.output else None,
        "into": _shown(request.into) if request.into else None,
        "temporary_directory": str(plan.layout.target.parent),
        "restored_bytes": _restored_bytes(prepared),
        "fetched_bytes": plan.fetched_bytes,
        "is_whole_cluster": prepared.layout.number is None,
        "program": str(prepared.program) if prepared.program else None,
        "notes": _notes(prepared),
    }


def _result_message(result: PartResult) -> dict[str, object]:
    return {"tables": list(result.tables), **state_message(result.reached), "size_bytes": result.size_bytes}


def _plan_words(prepared: PreparedPart) -> str:
    plan = prepared.recovery.restore.plan
    taken = text.when(plan.snapshot.started)
    left_out = "the whole cluster" if prepared.layout.number is None else "without the other databases"
    how = f"with {prepared.program}" if prepared.program else "ROWS ALONE, by COPY: no pg_dump here suits the server"
    lines = [
        f"snapshot {plan.snapshot.short_id} of {plan.snapshot.service}, taken {taken}",
        f"  to a throw-away cluster in {plan.layout.target.parent}: {text.size(_restored_bytes(prepared))}, {left_out}",
        f"  reading {_part_words(prepared)} {how}, to {_where(prepared)}",
        *(f"  {note}" for note in _notes(prepared)),
    ]
    return "\n".join(lines)


def _notes(prepared: PreparedPart) -> list[str]:
    """Return what does not come along."""
    request = prepared.request
    if request.output is not None and not request.tables and prepared.program:
        return []
    way = f"holdfast restore {request.service} --database {prepared.database} --output FILE"
    return [f"large objects do not come along: '{way}' writes them, and psql loads that"]


def _done_words(prepared: PreparedPart, result: PartResult, seconds: float) -> str:
    size = f" ({text.size(result.size_bytes)})" if result.size_bytes is not None else ""
    commit = (
        f"; the last transaction ended {text.instant(result.reached.last_commit)}" if result.reached.last_commit else ""
    )
    return (
        f"{_part_words(prepared)}: {text.count(len(result.tables), 'table')} to {_where(prepared)}{size} "
        f"in {text.duration(seconds)}\n"
        f"  as of {result.reached.lsn} on timeline {result.reached.timeline}{commit}"
    )


def _part_words(prepared: PreparedPart) -> str:
    tables = prepared.request.tables
    return f"{', '.join(tables)} of database {prepared.database}" if tables else f"database {prepared.database}"


def _where(prepared: PreparedPart) -> str:
    request = prepared.request
    return str(request.output) if request.output else _shown(request.into or "")


def _restored_bytes(prepared: PreparedPart) -> int:
    return sum(file.content_bytes for file in prepared.recovery.restore.plan.files)


def _shown(url: str) -> str:
    """Return a connection string without what nobody should see."""
    from psycopg.conninfo import conninfo_to_dict

    known = conninfo_to_dict(url)
    return " ".join(f"{name}={known[name]}" for name in ("host", "port", "user", "dbname") if name in known)
