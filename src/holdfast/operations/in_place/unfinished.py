"""Going on with a swap that was cut off: to its end, or back to what was in service before.

One that was cut off before its first rename is not finished where the server runs: it may have been in service for
weeks since, and what was staged then would push all of that aside. It is given up, and the restore planned anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import HoldfastError, UsageError
from holdfast.operations.in_place import place
from holdfast.operations.in_place.deeds import Deed, repository_of
from holdfast.restore import staging
from holdfast.restore.exchange import count_done
from holdfast.restore.journal import new_entry, read_journal
from holdfast.restore.swap import put_back, swap, unfinished_swap
from holdfast.services.postgres.live import look_at

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.repository.journal import JournalEntry
    from holdfast.restore.state import StateDirectory
    from holdfast.restore.swap import SwapIntent
    from holdfast.services.postgres.activation import PostgresSwitch


@dataclass(frozen=True)
class UnfinishedSwap:
    """A swap that was cut off, and what goes on with it."""

    stack: Stack
    service: str
    state: StateDirectory
    intent: SwapIntent


def find_unfinished(stack: Stack, service: str) -> UnfinishedSwap | None:
    """Return the swap of a service that was cut off, None when there is none."""
    state = place.service_state(stack, service)
    intent = unfinished_swap(state)
    return UnfinishedSwap(stack, service, state, intent) if intent else None


def is_overtaken(unfinished: UnfinishedSwap) -> bool:
    """Whether nothing was exchanged, and what the swap was to replace is in service."""
    intent = unfinished.intent
    return not intent.is_turned_back and count_done(intent.steps) == 0 and _switch(unfinished).is_running()


def give_up(unfinished: UnfinishedSwap, reporter: Reporter) -> None:
    """Forget a swap that was overtaken; what was staged for it is a leftover, which the next restore goes on with."""
    intent = unfinished.intent
    reporter.notice(
        f"the {intent.action} begun {intent.begun} was cut off before anything was exchanged, and {intent.home} has "
        "been in service since: it is given up"
    )
    turn_back(unfinished, reporter)


def finish(unfinished: UnfinishedSwap, reporter: Reporter) -> None:
    """Finish the swap: forward, or back where it had been turned back. SwapPutBackError when it must be turned back."""
    if unfinished.intent.is_turned_back:
        turn_back(unfinished, reporter)
        return
    state, intent = unfinished.state, unfinished.intent
    with state.locked():
        _require_unchanged(unfinished)
        _require_no_failover(intent)
        with _deed(unfinished, reporter):
            swap(state, intent, _switch(unfinished), reporter)
            _forget_staging(state, intent)


def turn_back(unfinished: UnfinishedSwap, reporter: Reporter) -> None:
    """Put back what was in service before the swap."""
    state, intent = unfinished.state, unfinished.intent
    with state.locked():
        _require_unchanged(unfinished)
        with _deed(unfinished, reporter) as deed:
            deed.put_back()
            put_back(state, intent, _switch(unfinished), reporter)


def _require_unchanged(unfinished: UnfinishedSwap) -> None:
    if unfinished_swap(unfinished.state) != unfinished.intent:
        raise HoldfastError("another run went on with the swap meanwhile", hint="run the same command again")


def _require_no_failover(intent: SwapIntent) -> None:
    """Raise UsageError where nothing was exchanged, and what is in service follows another server by now."""
    if count_done(intent.steps) == 0 and look_at(Path(intent.home)).is_standby:
        raise UsageError(
            f"{intent.home} is a standby now: what was to come would be a second primary beside its own",
            hint="'holdfast restore SERVICE --undo' gives the swap up, and changes nothing",
        )


def _switch(unfinished: UnfinishedSwap) -> PostgresSwitch:
    intent = unfinished.intent
    parked = [Path(intent.incoming.directory)]
    if intent.checkpoint is not None:
        parked.append(Path(intent.checkpoint.parked.directory))
    home = Path(intent.home)
    return place.make_switch(unfinished.stack, unfinished.service, home, place.major_of([home, *parked]))


def _deed(unfinished: UnfinishedSwap, reporter: Reporter) -> Deed:
    opener = repository_of(unfinished.stack, unfinished.service)
    return Deed(unfinished.state, _entry(unfinished), reporter, opener)


def _entry(unfinished: UnfinishedSwap) -> JournalEntry:
    """Return what the journal says of the swap's beginning."""
    intent = unfinished.intent
    known = next((entry for entry in read_journal(unfinished.state) if entry.id == intent.id), None)
    entry = known or new_entry(intent.id, unfinished.stack.stack, unfinished.service, intent.action, intent.home)
    return msgspec.structs.replace(entry, identity_became=entry.identity_became or intent.incoming_identity)


def _forget_staging(state: StateDirectory, intent: SwapIntent) -> None:
    """Forget what was staged, now that it is in service."""
    staged = staging.abandoned_staging(state)
    if staged is not None and staged.parked.directory == intent.incoming.directory:
        staging.forget_staging(state)
