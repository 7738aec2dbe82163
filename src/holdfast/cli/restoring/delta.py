"""``holdfast restore SERVICE --target DIR --delta``: bring a stopped copy up to date."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.restoring.to_directory import whole_message

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.config.models import Stack
    from holdfast.operations.recovery.run import Recovered
    from holdfast.operations.restore_delta import PreparedDelta
    from holdfast.progress import Reporter
    from holdfast.restore.delta import DeltaResult, Difference
    from holdfast.restore.target import RecoveryTarget


def restore_delta(asked: AskedRestore) -> None:
    """Compare the copy with the snapshot, say what differs, and rewrite that; a dry run stops after the comparison."""
    from holdfast import clock
    from holdfast.cli.restoring.recovery import asked_target, target_words
    from holdfast.operations.restore_delta import compare, recover_copy, rewrite

    run = asked.run
    target = asked_target(asked) if asked.to is not None else None
    if target is not None:
        run.output.say(target_words(target))
    stack = run.stack()
    began = clock.monotonic()
    with ExitStack() as held:
        with run.reporter() as reporter:
            prepared = held.enter_context(_preparing(asked, target, stack, reporter))
        run.output.say(_plan_words(prepared))
        with run.reporter() as reporter:
            difference = compare(prepared, reporter)
        message = _plan_message(prepared, difference)
        if asked.dry_run:
            run.output.emit("delta_plan", message, lambda: _difference_words(prepared, difference))
            return
        run.output.say(_difference_words(prepared, difference))
        with run.reporter() as reporter:
            result = rewrite(prepared, difference, reporter)
            recovered = recover_copy(prepared, reporter)
    seconds = clock.monotonic() - began
    message |= {**_result_message(result, recovered), "seconds": round(seconds, 3)}
    run.output.emit("delta_restored", message, lambda: _done_words(prepared, result, recovered, seconds))


def _preparing(
    asked: AskedRestore, target: RecoveryTarget | None, stack: Stack, reporter: Reporter
) -> AbstractContextManager[PreparedDelta]:
    from holdfast.operations.restore_delta import prepared_delta, prepared_recovery

    if target is None:
        return prepared_delta(stack, asked.request())
    from holdfast.operations.recovery.plan import RecoveryRequest

    return prepared_recovery(stack, RecoveryRequest(asked.request(), target, asked.catch_up), reporter)


def _plan_message(prepared: PreparedDelta, difference: Difference) -> dict[str, object]:
    return {
        **whole_message(prepared.delta.whole),
        "differing_files": difference.files,
        "differing_bytes": difference.differing_bytes,
        "fetched_bytes": difference.fetched_bytes,
        "surplus": [str(path) for path in difference.surplus],
        "server_version": prepared.facts.version,
    }


def _result_message(result: DeltaResult, recovered: Recovered | None) -> dict[str, object]:
    from holdfast.cli.restoring.recovery import reached_message

    reached = reached_message(recovered) if recovered else {}
    return {"rewritten_bytes": result.rewritten_bytes, "removed": result.removed, **reached}


def _plan_words(prepared: PreparedDelta) -> str:
    plan = prepared.delta.whole
    taken = text.when(plan.snapshot.started)
    extent = f"{text.size(plan.size_bytes)} in {text.count(len(plan.files), 'file')}"
    lines = [
        f"snapshot {plan.snapshot.short_id} of {plan.snapshot.service}, taken {taken}",
        f"  over the copy in {plan.layout.target}: {extent} to compare",
        *(f"  {note}" for note in plan.layout.notes),
    ]
    return "\n".join(lines)


def _difference_words(prepared: PreparedDelta, difference: Difference) -> str:
    plan = prepared.delta.whole
    share = 100 * difference.differing_bytes / plan.size_bytes if plan.size_bytes else 0.0
    return (
        f"  differs: at most {text.size(difference.differing_bytes)} ({share:.1f} %) "
        f"in {text.count(difference.files, 'file')}, {text.size(difference.fetched_bytes)} to fetch; "
        f"{text.count(len(difference.surplus), 'path')} to remove"
    )


def _done_words(prepared: PreparedDelta, result: DeltaResult, recovered: Recovered | None, seconds: float) -> str:
    from holdfast.cli.restoring.recovery import reached_words

    plan = prepared.delta.whole
    done = (
        f"restored {plan.snapshot.service} to {plan.layout.target}: {text.size(result.rewritten_bytes)} "
        f"of {text.size(plan.size_bytes)} rewritten, {text.count(result.removed, 'path')} removed, "
        f"in {text.duration(seconds)}"
    )
    return f"{done}\n{reached_words(recovered).rstrip()}" if recovered else done
