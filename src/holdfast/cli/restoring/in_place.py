"""``holdfast restore SERVICE``: put a service back where it runs, keeping what was there as a checkpoint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.config.models import Stack
    from holdfast.operations.in_place.drop import PreparedDrop
    from holdfast.operations.in_place.restore import InPlaceDone, InPlaceRequest, PreparedInPlace
    from holdfast.operations.in_place.undo import PreparedUndo
    from holdfast.operations.in_place.unfinished import UnfinishedSwap
    from holdfast.restore.checkpoint import Checkpoint
    from holdfast.restore.exchange import Parked
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.target import RecoveryTarget


def restore_in_place(asked: AskedRestore) -> None:
    """Restore a service in place; or finish a swap of it that was cut off, which comes before anything else."""
    from holdfast import clock
    from holdfast.operations.in_place.restore import prepare_in_place
    from holdfast.operations.in_place.restore import restore_in_place as operation
    from holdfast.operations.in_place.unfinished import find_unfinished

    run, stack = asked.run, _stack(asked)
    unfinished = find_unfinished(stack, asked.service)
    if unfinished is not None:
        _finish(asked, unfinished)
        return
    began = clock.monotonic()
    request = _request(asked)
    with run.reporter() as reporter:
        prepared = prepare_in_place(stack, request, reporter)
    if asked.dry_run:
        run.output.emit("in_place_plan", _plan_message(prepared), lambda: _plan_words(prepared))
        return
    run.output.say(_plan_words(prepared))
    _confirm(asked, "it will be replaced by what is restored, and kept as a checkpoint")
    with run.reporter() as reporter:
        done = operation(prepared, reporter)
    message = {**_plan_message(prepared), **_done_message(done), "seconds": round(clock.monotonic() - began, 3)}
    run.output.emit("restored_in_place", message, lambda: _done_words(prepared, done, clock.monotonic() - began))


def undo(asked: AskedRestore) -> None:
    """Put the newest checkpoint back; or turn back a swap that was cut off."""
    from holdfast.operations.in_place.undo import prepare_undo
    from holdfast.operations.in_place.undo import undo as operation
    from holdfast.operations.in_place.unfinished import find_unfinished

    run, stack = asked.run, _stack(asked)
    unfinished = find_unfinished(stack, asked.service)
    if unfinished is not None:
        _turn_back(asked, unfinished)
        return
    prepared = prepare_undo(stack, asked.service)
    words = _undo_words(prepared)
    message = _undo_message(prepared)
    if asked.dry_run:
        run.output.emit("undo_plan", message, lambda: words)
        return
    run.output.say(words)
    _confirm(asked, "it will be replaced by the checkpoint, and kept as one itself")
    with run.reporter() as reporter:
        outage_s = operation(prepared, reporter).outage_s
    run.output.emit(
        "undone",
        {**message, "outage_s": _rounded(outage_s)},
        lambda: (
            f"checkpoint {prepared.checkpoint.short_id} is in service again at {prepared.live.directory}; "
            f"out of service for {text.duration(outage_s or 0)}\n"
            "what it replaced is a checkpoint now: --undo once more brings that back"
        ),
    )


def drop_checkpoint(asked: AskedRestore) -> None:
    """Delete the checkpoints of a service."""
    from holdfast.operations.in_place.drop import drop, prepare_drop

    run = asked.run
    prepared = prepare_drop(_stack(asked), asked.service)
    message = {"service": asked.service, "checkpoints": [_checkpoint_message(each) for each in prepared.checkpoints]}
    if asked.dry_run:
        run.output.emit("drop_plan", message, lambda: _drop_words(prepared))
        return
    run.output.say(_drop_words(prepared))
    _confirm(asked, "its checkpoints will be deleted for good")
    with run.reporter() as reporter:
        drop(prepared, reporter)
    number = text.count(len(prepared.checkpoints), "checkpoint")
    run.output.emit("checkpoints_dropped", message, lambda: f"deleted {number} of {asked.service}")


def _stack(asked: AskedRestore) -> Stack:
    from holdfast.config.load import find_stack_file, load_stack

    return load_stack(find_stack_file(asked.run.config))


def _request(asked: AskedRestore) -> InPlaceRequest:
    from holdfast.cli.restoring.to_directory import tablespace_places
    from holdfast.operations.in_place.restore import InPlaceRequest

    return InPlaceRequest(
        service=asked.service,
        snapshot=asked.snapshot,
        repository=asked.run.repository,
        tablespaces=tablespace_places(asked.tablespace),
        target=_target(asked),
    )


def _target(asked: AskedRestore) -> RecoveryTarget | None:
    from holdfast.cli.restoring.recovery import asked_target, target_words

    if asked.to is None:
        return None
    target = asked_target(asked)
    asked.run.output.say(target_words(target))
    return target


def _finish(asked: AskedRestore, unfinished: UnfinishedSwap) -> None:
    from holdfast.operations.in_place.unfinished import finish

    intent = unfinished.intent
    goal = "put back what was there" if intent.is_turned_back else "bring the new state into service"
    words = f"a swap of {intent.home} begun at {intent.begun} was cut off; it remains to {goal}"
    if asked.dry_run:
        asked.run.output.emit("swap_unfinished", _unfinished_message(unfinished), lambda: words)
        return
    asked.run.output.say(words)
    _confirm(asked, "the swap will be finished")
    with asked.run.reporter() as reporter:
        finish(unfinished, reporter)
    ended = "what was there is back" if intent.is_turned_back else "it is in service now"
    asked.run.output.emit("swap_finished", _unfinished_message(unfinished), lambda: f"finished the swap: {ended}")


def _turn_back(asked: AskedRestore, unfinished: UnfinishedSwap) -> None:
    from holdfast.operations.in_place.unfinished import turn_back

    intent = unfinished.intent
    words = f"a swap of {intent.home} begun at {intent.begun} was cut off; what was there will be put back"
    if asked.dry_run:
        asked.run.output.emit("swap_unfinished", _unfinished_message(unfinished), lambda: words)
        return
    asked.run.output.say(words)
    _confirm(asked, "what was there will be put back")
    with asked.run.reporter() as reporter:
        turn_back(unfinished, reporter)
    message = {**_unfinished_message(unfinished), "is_turned_back": True}
    asked.run.output.emit("swap_finished", message, lambda: "turned the swap back: what was there is back")


def _confirm(asked: AskedRestore, consequence: str) -> None:
    """Let the operator type the service's name, unless ``--yes`` says that this was thought over."""
    if asked.yes:
        return
    if asked.run.json or not sys.stdin.isatty():
        raise UsageError(
            f"{asked.service} is to be changed in place, and nobody is there to agree", hint="say so with --yes"
        )
    try:
        typed = typer.prompt(f"{asked.service}: {consequence}. Type its name to go on", err=True)
    except typer.Abort:
        raise InterruptedRunError("nothing was changed", hint="run the same command again") from None
    if typed.strip() != asked.service:
        raise UsageError(f"{typed.strip()!r} is not {asked.service!r}; nothing was changed", hint="type the very name")


def _plan_message(prepared: PreparedInPlace) -> dict[str, object]:
    plan, recovery = prepared.restore.plan, prepared.recovery
    return {
        "service": prepared.request.service,
        "snapshot": plan.snapshot.id,
        "recovery_target": str(recovery.target) if recovery else None,
        "timelines": [int(entry.timeline) for entry in recovery.choice.way()] if recovery else [],
        "wal_segments": recovery.choice.proof.segments if recovery else 0,
        "wal_stored_bytes": recovery.choice.proof.stored_bytes if recovery else 0,
        "estimated_s": round(recovery.estimated_s, 1) if recovery else None,
        "data_directory": str(prepared.live.directory),
        "in_service": prepared.live.description,
        "staging": [str(root) for root in plan.layout.roots],
        "checkpoint": _places(prepared.parked),
        "files": len(plan.files),
        "size_bytes": plan.size_bytes,
        "file_systems": [
            {"path": str(room.path), "needed_bytes": room.needed_bytes, "free_bytes": room.free_bytes}
            for room in plan.rooms
        ],
        "stop": list(prepared.switch.commands.stop),
        "start": list(prepared.switch.commands.start),
        "binaries": str(prepared.binaries.directory),
        "last_outage_s": prepared.last_outage_s,
        "notes": prepared.notes,
    }


def _plan_words(prepared: PreparedInPlace) -> str:
    plan, commands = prepared.restore.plan, prepared.switch.commands
    kept = f"kept as {prepared.parked.directory}" if prepared.parked else "nothing to keep"
    last = f"; {text.duration(prepared.last_outage_s)} last time" if prepared.last_outage_s is not None else ""
    lines = [
        f"{prepared.became} of {prepared.request.service}, taken {_when(plan.snapshot.started)}",
        *_recovery_words(prepared),
        f"  in place at {prepared.live.directory}: {text.size(plan.size_bytes)}",
        f"  there now: {prepared.live.description}; {kept}",
        *(f"  staged in {root}" for root in plan.layout.roots),
        *(f"  {r.path}: {text.size(r.needed_bytes)} of {text.size(r.free_bytes)} free" for r in plan.rooms),
        f"  stopped by: {' '.join(commands.stop)}",
        f"  started by: {' '.join(commands.start)}",
        f"  out of service while the server stops and starts{last}; the restore itself does not count",
    ]
    return "\n".join([*lines, *(f"  {note}" for note in prepared.notes)])


def _recovery_words(prepared: PreparedInPlace) -> list[str]:
    recovery = prepared.recovery
    if recovery is None:
        return []
    segments = text.count(recovery.choice.proof.segments, "WAL segment")
    way = " -> ".join(str(entry.timeline) for entry in recovery.choice.way())
    return [
        f"  recovered to {recovery.target} on timeline {way}: {segments} from the archive, all there",
        f"  about {text.duration(recovery.estimated_s)} until the swap",
    ]


def _done_message(done: InPlaceDone) -> dict[str, object]:
    return {
        "outage_s": _rounded(done.outage_s),
        "became": done.description,
        "reached_lsn": str(done.reached.lsn) if done.reached else None,
        "last_commit": done.reached.last_commit.isoformat() if done.reached and done.reached.last_commit else None,
        "archives_again": done.archives_again,
    }


def _done_words(prepared: PreparedInPlace, done: InPlaceDone, seconds: float) -> str:
    where = f"{prepared.request.service} in place at {prepared.live.directory}"
    lines = [
        f"restored {where} in {text.duration(seconds)}; out of service for {text.duration(done.outage_s or 0)}",
        f"in service: {done.description}",
        *(_reached_words(done.reached) if done.reached else ()),
    ]
    if prepared.parked is not None:
        lines.append(
            f"what was there is in {prepared.parked.directory}: --undo puts it back, --drop-checkpoint deletes it"
        )
    return "\n".join(lines)


def _reached_words(reached: Reached) -> list[str]:
    commit = f"; the last transaction ended {text.instant(reached.last_commit)}" if reached.last_commit else ""
    return [f"reached {reached.lsn} on timeline {reached.timeline}{commit}"]


def _undo_message(prepared: PreparedUndo) -> dict[str, object]:
    return {
        "service": prepared.service,
        "data_directory": str(prepared.live.directory),
        "in_service": prepared.live.description,
        "checkpoint": _checkpoint_message(prepared.checkpoint),
        "kept_as": _places(prepared.parked),
    }


def _undo_words(prepared: PreparedUndo) -> str:
    kept = f"kept as {prepared.parked.directory}" if prepared.parked else "nothing to keep"
    return "\n".join(
        [
            f"checkpoint {prepared.checkpoint.short_id} of {prepared.service}, made {_when(prepared.checkpoint.made)}",
            f"  it is: {prepared.checkpoint.description}",
            f"  back in place at {prepared.live.directory}",
            f"  there now: {prepared.live.description}; {kept}",
        ]
    )


def _drop_words(prepared: PreparedDrop) -> str:
    lines = [f"the checkpoints of {prepared.service}:"]
    for each in prepared.checkpoints:
        lines.append(f"  {each.short_id}, made {_when(each.made)}, until {each.until}: {each.description}")
        lines += [f"    {place}" for place in each.parked.places]
    return "\n".join(lines)


def _checkpoint_message(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "id": checkpoint.id,
        "made": checkpoint.made,
        "until": checkpoint.until,
        "description": checkpoint.description,
        "directories": _places(checkpoint.parked),
    }


def _unfinished_message(unfinished: UnfinishedSwap) -> dict[str, object]:
    intent = unfinished.intent
    return {
        "service": unfinished.service,
        "data_directory": intent.home,
        "action": intent.action,
        "begun": intent.begun,
        "is_turned_back": intent.is_turned_back,
    }


def _places(parked: Parked | None) -> list[str]:
    return [str(place) for place in parked.places] if parked else []


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _when(stored: str) -> str:
    from datetime import datetime

    return text.instant(datetime.fromisoformat(stored))
