"""Restores in place, undos and drops in words for people and in fields for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.restoring.to_directory import rooms_message, rooms_words

if TYPE_CHECKING:
    from holdfast.operations.in_place.drop import PreparedDrop
    from holdfast.operations.in_place.plan import PreparedInPlace
    from holdfast.operations.in_place.restore import InPlaceDone
    from holdfast.operations.in_place.undo import PreparedUndo
    from holdfast.operations.in_place.unfinished import UnfinishedSwap
    from holdfast.restore.checkpoint import Checkpoint
    from holdfast.restore.exchange import Parked
    from holdfast.restore.recovery.reached import Reached


def plan_message(prepared: PreparedInPlace) -> dict[str, object]:
    """Return the fields of the message ``in_place_plan``."""
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
        "file_systems": rooms_message(plan),
        "stop": list(prepared.switch.commands.stop),
        "start": list(prepared.switch.commands.start),
        "binaries": str(prepared.binaries.directory),
        "last_outage_s": prepared.last_outage_s,
        "notes": prepared.notes,
    }


def plan_words(prepared: PreparedInPlace) -> str:
    """Return the plan as people read it."""
    plan, commands = prepared.restore.plan, prepared.switch.commands
    kept = f"kept as {prepared.parked.directory}" if prepared.parked else "nothing to keep"
    last = f"; {text.duration(prepared.last_outage_s)} last time" if prepared.last_outage_s is not None else ""
    taken = text.when(plan.snapshot.started)
    lines = [
        f"{prepared.request.service} becomes {prepared.became}; the snapshot was taken {taken}",
        *_recovery_words(prepared),
        f"  in place at {prepared.live.directory}: {text.size(plan.size_bytes)}",
        f"  there now: {prepared.live.description}; {kept}",
        *(f"  staged in {root}" for root in plan.layout.roots),
        *rooms_words(plan),
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


def done_message(done: InPlaceDone) -> dict[str, object]:
    """Return the fields that tell what came of a restore in place."""
    return {
        "outage_s": rounded(done.outage_s),
        "became": done.description,
        "reached_lsn": str(done.reached.lsn) if done.reached else None,
        "last_commit": done.reached.last_commit.isoformat() if done.reached and done.reached.last_commit else None,
        "archives_again": done.archives_again,
    }


def done_words(prepared: PreparedInPlace, done: InPlaceDone, seconds: float) -> str:
    """Return what came of it, as people read it."""
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


def undo_message(prepared: PreparedUndo) -> dict[str, object]:
    """Return the fields of the message ``undo_plan``."""
    return {
        "service": prepared.service,
        "data_directory": str(prepared.live.directory),
        "in_service": prepared.live.description,
        "checkpoint": checkpoint_message(prepared.checkpoint),
        "kept_as": _places(prepared.parked),
    }


def undo_words(prepared: PreparedUndo) -> str:
    """Return the plan of an undo as people read it."""
    checkpoint = prepared.checkpoint
    kept = f"kept as {prepared.parked.directory}" if prepared.parked else "nothing to keep"
    return "\n".join(
        [
            f"checkpoint {checkpoint.short_id} of {prepared.service}, made {text.when(checkpoint.made)}",
            f"  it is: {checkpoint.description}",
            f"  back in place at {prepared.live.directory}",
            f"  there now: {prepared.live.description}; {kept}",
        ]
    )


def drop_words(prepared: PreparedDrop) -> str:
    """Return what is to be deleted, as people read it."""
    lines = [f"to delete, of {prepared.service}:"]
    for each in prepared.checkpoints:
        lines.append(f"  {each.short_id}, made {text.when(each.made)}, until {each.until}: {each.description}")
        lines += [f"    {place}" for place in each.parked.places]
    if prepared.leftover is not None:
        begun = text.when(prepared.leftover.begun)
        lines.append(f"  {prepared.leftover.short_id}, staged by the restore begun {begun}, and not in service:")
        lines += [f"    {place}" for place in prepared.leftover.parked.places]
    return "\n".join(lines)


def drop_message(prepared: PreparedDrop) -> dict[str, object]:
    """Return the fields that tell what is to be deleted."""
    return {
        "service": prepared.service,
        "checkpoints": [checkpoint_message(each) for each in prepared.checkpoints],
        "staged": _places(prepared.leftover.parked) if prepared.leftover else [],
    }


def checkpoint_message(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the fields of one checkpoint."""
    return {
        "id": checkpoint.id,
        "made": checkpoint.made,
        "until": checkpoint.until,
        "description": checkpoint.description,
        "directories": _places(checkpoint.parked),
    }


def unfinished_message(unfinished: UnfinishedSwap) -> dict[str, object]:
    """Return the fields of the message ``swap_unfinished``."""
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


def rounded(seconds: float | None) -> float | None:
    """Return seconds to the millisecond."""
    return None if seconds is None else round(seconds, 3)
