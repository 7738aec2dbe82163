"""Recovery to a target, as the command line asks for it and tells of it: shared by all ways of restoring."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.restoring import to_directory
from holdfast.cli.restoring.broken_off import TO_BEGIN_ANEW, TO_RESUME, saying_how_to_go_on

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.operations.recovery.plan import PreparedRecovery
    from holdfast.operations.recovery.run import Recovered
    from holdfast.restore.recovery.reached import Reached
    from holdfast.restore.target import RecoveryTarget


def restore_and_recover(asked: AskedRestore) -> None:
    """Restore into a new directory and recover to the target; a dry run stops after the plan."""
    from holdfast import clock
    from holdfast.operations.recovery.plan import RecoveryRequest, prepare_recovery
    from holdfast.operations.recovery.run import recover, restore_files

    run = asked.run
    target = asked_target(asked)
    run.output.say(target_words(target))
    stack = run.stack()
    began = clock.monotonic()
    with run.reporter() as reporter:
        prepared = prepare_recovery(stack, RecoveryRequest(asked.request(), target, asked.catch_up), reporter)
    if asked.dry_run:
        run.output.emit("recovery_plan", plan_message(prepared), lambda: plan_words(prepared))
        return
    run.output.say(plan_words(prepared))
    directory = prepared.restore.plan.layout.target
    with run.reporter() as reporter:
        with saying_how_to_go_on(directory, TO_RESUME):
            restore_files(prepared, reporter)
        with saying_how_to_go_on(directory, TO_BEGIN_ANEW):
            recovered = recover(prepared, directory, reporter)
    seconds = clock.monotonic() - began
    message = {**plan_message(prepared), **reached_message(recovered), "seconds": round(seconds, 3)}
    run.output.emit("recovered", message, lambda: _done_words(prepared, recovered, seconds))


def asked_target(asked: AskedRestore) -> RecoveryTarget:
    """Return the recovery target that the options mean; times without a zone are this machine's."""
    from holdfast import clock
    from holdfast.restore.target import parse_action, parse_target, parse_timeline

    assert asked.to is not None
    target = parse_target(asked.to, clock.now(), None)
    if asked.timeline is not None:
        target = replace(target, timeline=parse_timeline(asked.timeline))
    if asked.action is not None:
        target = replace(target, action=parse_action(asked.action))
    return replace(target, is_inclusive=not asked.exclusive)


def target_words(target: RecoveryTarget) -> str:
    """Return what was understood, a time in local time and in UTC: shown before anything happens."""
    from holdfast.restore.target import TimeGoal

    if not isinstance(target.goal, TimeGoal):
        return f"recovering to {target}"
    return f"recovering to {'' if target.is_inclusive else 'just before '}{_exact(target.goal.at)}"


def plan_message(prepared: PreparedRecovery) -> dict[str, object]:
    """Return the fields of the message ``recovery_plan``."""
    from holdfast.restore.target import TimeGoal

    choice, target = prepared.choice, prepared.target
    position = prepared.expected.position
    return {
        **to_directory.plan_message(prepared.restore),
        "recovery_target": str(target),
        "recovery_target_time": target.goal.at.isoformat() if isinstance(target.goal, TimeGoal) else None,
        "recovery_target_lsn": str(position.start) if position else None,
        "is_inclusive": target.is_inclusive,
        "action": target.action.value,
        "timelines": [int(entry.timeline) for entry in choice.way()],
        "wal_start": str(choice.point.start),
        "wal_end": str(choice.proof.end),
        "wal_segments": choice.proof.segments,
        "wal_stored_bytes": choice.proof.stored_bytes,
        "estimated_s": round(prepared.estimated_s, 1),
        "estimate_is_measured": prepared.rates.is_measured,
    }


def plan_words(prepared: PreparedRecovery) -> str:
    """Return the plan as people read it."""
    choice = prepared.choice
    way = " -> ".join(
        f"{entry.timeline} (left at {entry.end})" if entry.end is not None else str(entry.timeline)
        for entry in choice.way()
    )
    segments = text.count(choice.proof.segments, "WAL segment")
    source = "as measured here before" if prepared.rates.is_measured else "at default rates; none are measured here yet"
    return "\n".join(
        [
            to_directory.plan_words(prepared.restore),
            f"  then recovering to {prepared.target}{_found_words(prepared)}, and {_ACTIONS[prepared.target.action]}",
            f"  timeline {way}; {segments} from the archive ({text.size(choice.proof.stored_bytes)} stored), all there",
            f"  about {text.duration(prepared.estimated_s)} ({source})",
        ]
    )


def reached_message(recovered: Recovered) -> dict[str, object]:
    """Return the fields that tell what was reached."""
    return {
        **state_message(recovered.reached),
        "stopped": recovered.reached.stopped,
        "new_timeline": int(recovered.new_timeline) if recovered.new_timeline else None,
        "conninfo": recovered.conninfo,
    }


def state_message(reached: Reached) -> dict[str, object]:
    """Return the fields that tell which state of the cluster it is."""
    return {
        "reached_lsn": str(reached.lsn),
        "reached_timeline": int(reached.timeline),
        "last_commit": reached.last_commit.isoformat() if reached.last_commit else None,
    }


def reached_words(recovered: Recovered) -> str:
    """Return what was reached, as people read it."""
    reached = recovered.reached
    commit = f"the last transaction ended {_exact(reached.last_commit)}" if reached.last_commit else "no transaction"
    why = f"  the server said: {reached.stopped}\n" if reached.stopped else ""
    return f"  reached {reached.lsn} on timeline {reached.timeline}; {commit}\n{why}"


_ACTIONS = {"promote": "promoting", "pause": "pausing there", "shutdown": "shutting down there"}


def _found_words(prepared: PreparedRecovery) -> str:
    position = prepared.expected.position
    return f" (stops near {position.start})" if position is not None else ""


def _done_words(prepared: PreparedRecovery, recovered: Recovered, seconds: float) -> str:
    plan = prepared.restore.plan
    size, taken = text.size(plan.size_bytes), text.duration(seconds)
    return (
        f"restored {plan.snapshot.service} to {plan.layout.target} and recovered to {prepared.target}: "
        f"{size} in {taken}\n{reached_words(recovered)}{_next_words(prepared, recovered)}"
    )


def _next_words(prepared: PreparedRecovery, recovered: Recovered) -> str:
    start = f"start it as the owner of the directory: {to_directory.pg_ctl_command(prepared.restore, 'start')}"
    if recovered.new_timeline is not None:
        return f"it is promoted to timeline {recovered.new_timeline}, and stopped\n{start}"
    if recovered.conninfo is not None:
        stop = to_directory.pg_ctl_command(prepared.restore, "stop")
        return (
            f"it runs, paused and read-only: psql '{recovered.conninfo}'\n"
            f"to go on from here: SELECT pg_promote(); to stop it: {stop}"
        )
    return (
        "it is stopped, still in recovery; started again it halts there again, read-only; SELECT pg_promote() goes on\n"
        f"{start}"
    )


def _exact(when: datetime) -> str:
    """Return an instant in local time and in UTC, with the fraction of a second where there is one."""
    shown = text.instant(when)
    return shown if not when.microsecond else shown.replace(f":{when:%S} ", f":{when:%S.%f} ")
