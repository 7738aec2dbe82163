"""``holdfast restore SERVICE``: put a service back where it runs, keeping what was there as a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli import text
from holdfast.cli.agreement import require_agreement
from holdfast.cli.restoring.in_place_words import (
    done_message,
    done_words,
    drop_message,
    drop_words,
    plan_message,
    plan_words,
    rounded,
    undo_message,
    undo_words,
    unfinished_message,
)

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore
    from holdfast.operations.in_place.plan import InPlaceRequest
    from holdfast.operations.in_place.unfinished import UnfinishedSwap
    from holdfast.restore.target import RecoveryTarget


def restore_in_place(asked: AskedRestore) -> None:
    """Restore a service in place; or finish a swap of it that was cut off, which comes before anything else.

    One that was overtaken is given up before.
    """
    from holdfast import clock
    from holdfast.operations.in_place.plan import prepare_in_place
    from holdfast.operations.in_place.restore import restore_in_place as operation
    from holdfast.operations.in_place.unfinished import find_unfinished, give_up, is_overtaken

    run, stack = asked.run, asked.run.stack()
    unfinished = find_unfinished(stack, asked.service)
    if unfinished is not None:
        overtaken = is_overtaken(unfinished)
        if asked.dry_run or not overtaken:
            _finish(asked, unfinished, _goal(unfinished, overtaken=overtaken))
            return
        with run.reporter() as reporter:
            give_up(unfinished, reporter)
    began = clock.monotonic()
    request = _request(asked)
    with run.reporter() as reporter:
        prepared = prepare_in_place(stack, request, reporter)
    if asked.dry_run:
        run.output.emit("in_place_plan", plan_message(prepared), lambda: plan_words(prepared))
        return
    run.output.say(plan_words(prepared))
    _confirm(asked, "it will be replaced by what is restored, and kept as a checkpoint")
    with run.reporter() as reporter:
        done = operation(prepared, reporter)
    seconds = clock.monotonic() - began
    message = {**plan_message(prepared), **done_message(done), "seconds": round(seconds, 3)}
    run.output.emit("restored_in_place", message, lambda: done_words(prepared, done, seconds))


def undo(asked: AskedRestore) -> None:
    """Put a checkpoint back; or turn back a swap that was cut off."""
    from holdfast.operations.in_place.undo import prepare_undo
    from holdfast.operations.in_place.undo import undo as operation
    from holdfast.operations.in_place.unfinished import find_unfinished

    run, stack = asked.run, asked.run.stack()
    unfinished = find_unfinished(stack, asked.service)
    if unfinished is not None:
        _turn_back(asked, unfinished)
        return
    prepared = prepare_undo(stack, asked.service, asked.checkpoint)
    words = undo_words(prepared)
    message = undo_message(prepared)
    if asked.dry_run:
        run.output.emit("undo_plan", message, lambda: words)
        return
    run.output.say(words)
    _confirm(asked, "it will be replaced by the checkpoint, and kept as one itself")
    with run.reporter() as reporter:
        outage_s = operation(prepared, reporter).outage_s
    run.output.emit(
        "undone",
        {**message, "outage_s": rounded(outage_s)},
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
    prepared = prepare_drop(asked.run.stack(), asked.service, asked.checkpoint)
    message = drop_message(prepared)
    if asked.dry_run:
        run.output.emit("drop_plan", message, lambda: drop_words(prepared))
        return
    run.output.say(drop_words(prepared))
    _confirm(asked, "what is listed will be deleted for good")
    with run.reporter() as reporter:
        drop(prepared, reporter)
    dropped = [text.count(len(prepared.checkpoints), "checkpoint")] if prepared.checkpoints else []
    dropped += ["what was staged"] if prepared.leftover else []
    run.output.emit("checkpoints_dropped", message, lambda: f"deleted {' and '.join(dropped)} of {asked.service}")


def _request(asked: AskedRestore) -> InPlaceRequest:
    from holdfast.operations.in_place.plan import InPlaceRequest

    return InPlaceRequest(
        service=asked.service,
        snapshot=asked.snapshot,
        repository=asked.run.repository,
        tablespaces=asked.places,
        target=_target(asked),
        catch_up=asked.catch_up,
    )


def _target(asked: AskedRestore) -> RecoveryTarget | None:
    from holdfast.cli.restoring.recovery import asked_target, target_words

    if asked.to is None:
        return None
    target = asked_target(asked)
    asked.run.output.say(target_words(target))
    return target


def _finish(asked: AskedRestore, unfinished: UnfinishedSwap, goal: str) -> None:
    from holdfast.operations.in_place.unfinished import finish

    intent = unfinished.intent
    words = f"a swap of {intent.home} begun at {intent.begun} was cut off; it remains to {goal}"
    if asked.dry_run:
        asked.run.output.emit("swap_unfinished", unfinished_message(unfinished), lambda: words)
        return
    asked.run.output.say(words)
    _confirm(asked, "the swap will be finished")
    with asked.run.reporter() as reporter:
        finish(unfinished, reporter)
    ended = "what was there is back" if intent.is_turned_back else "it is in service now"
    words = f"finished the swap: {ended}\nthat was all: to restore now, run the same command again"
    asked.run.output.emit("swap_finished", unfinished_message(unfinished), lambda: words)


def _goal(unfinished: UnfinishedSwap, *, overtaken: bool) -> str:
    if unfinished.intent.is_turned_back:
        return "put back what was there"
    if overtaken:
        return "give it up, as nothing was exchanged and the server runs, and to restore anew"
    return "bring the new state into service"


def _turn_back(asked: AskedRestore, unfinished: UnfinishedSwap) -> None:
    from holdfast.operations.in_place.unfinished import turn_back

    intent = unfinished.intent
    words = f"a swap of {intent.home} begun at {intent.begun} was cut off; what was there will be put back"
    if asked.dry_run:
        asked.run.output.emit("swap_unfinished", unfinished_message(unfinished), lambda: words)
        return
    asked.run.output.say(words)
    _confirm(asked, "what was there will be put back")
    with asked.run.reporter() as reporter:
        turn_back(unfinished, reporter)
    message = {**unfinished_message(unfinished), "is_turned_back": True}
    asked.run.output.emit("swap_finished", message, lambda: "turned the swap back: what was there is back")


def _confirm(asked: AskedRestore, consequence: str) -> None:
    if not asked.yes:
        require_agreement(asked.run, asked.service, f"{asked.service} is to be changed in place", consequence)
