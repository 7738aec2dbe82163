"""List the checkpoints of all services, and the swaps that were cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.operations.in_place.place import service_state
from holdfast.restore.checkpoint import read_checkpoints
from holdfast.restore.swap import unfinished_swap

if TYPE_CHECKING:
    from holdfast.config.models import Stack


@dataclass(frozen=True)
class CheckpointFacts:
    """One checkpoint, or, with ``is_unfinished``, a swap that was cut off and waits for 'holdfast restore'.

    ``made`` is ISO 8601 in UTC; ``directories`` are where it is; ``is_present``: they are all there.
    """

    service: str
    id: str
    made: str
    until: str
    description: str
    home: str
    directories: tuple[str, ...]
    is_present: bool
    is_unfinished: bool = False


def list_checkpoints(stack: Stack) -> list[CheckpointFacts]:
    """Return the checkpoints of every service of this machine, oldest first, unfinished swaps first of all.

    PermissionRefusedError when the state of a service may not be read by this account.
    """
    found = [facts for service in stack.services for facts in _unfinished(stack, service)]
    return found + [facts for service in stack.services for facts in _kept(stack, service)]


def _unfinished(stack: Stack, service: str) -> list[CheckpointFacts]:
    intent = unfinished_swap(service_state(stack, service))
    if intent is None:
        return []
    return [
        CheckpointFacts(
            service=service,
            id=intent.id,
            made=intent.begun,
            until=intent.action,
            description="a swap that was cut off",
            home=intent.home,
            directories=tuple(map(str, intent.incoming.places)),
            is_present=True,
            is_unfinished=True,
        )
    ]


def _kept(stack: Stack, service: str) -> list[CheckpointFacts]:
    return [
        CheckpointFacts(
            service=service,
            id=each.id,
            made=each.made,
            until=each.until,
            description=each.description,
            home=each.home,
            directories=tuple(map(str, each.parked.places)),
            is_present=each.is_present,
        )
        for each in read_checkpoints(service_state(stack, service))
    ]
