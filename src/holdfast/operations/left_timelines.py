"""Ask the journal which timelines of a service's cluster an undo has left, so that "latest" is what is in service."""

from __future__ import annotations

from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.operations.in_place.place import service_state
from holdfast.repository.journal import JOURNAL_PREFIX, decode_entry
from holdfast.restore.journal import read_journal
from holdfast.restore.left import left_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.config.models import Stack
    from holdfast.postgres.timeline import Timeline
    from holdfast.repository.journal import JournalEntry
    from holdfast.repository.repository import Repository
    from holdfast.wal.lineage import Lineage


def timelines_left(
    stack: Stack, service: str, repository: Repository, system_identifier: str, lineage: Lineage
) -> frozenset[Timeline]:
    """Return the timelines of a cluster that were left, by the journals of this machine and of the repository.

    What cannot be read of them is passed over: a restore must not fail for want of a journal.
    """
    if len(lineage.histories) < 2:
        return frozenset()
    local = _of_this_machine(stack, service)
    by_id = {entry.id: entry for entry in (*local, *_stored(repository))}
    own = [entry for entry in by_id.values() if (entry.stack, entry.service) == (stack.stack, service)]
    begun = _orderly_times(local)
    in_order = sorted(own, key=lambda entry: begun.get(entry.id, entry.begun))
    return left_timelines(in_order, system_identifier, lineage)


def _orderly_times(local: Sequence[JournalEntry]) -> dict[str, str]:
    """Return when each deed of this machine began, none before an earlier one: the clock may have been set back.

    The journal's lines are in the order of what was done; deeds of another machine have nothing but their time.
    """
    times = accumulate((entry.begun for entry in local), max)
    return {entry.id: begun for entry, begun in zip(local, times, strict=True)}


def _of_this_machine(stack: Stack, service: str) -> list[JournalEntry]:
    if service in stack.services:
        with suppress(OSError):  # another account's
            return read_journal(service_state(stack, service))
    return []


def _stored(repository: Repository) -> Iterator[JournalEntry]:
    for info in repository.storage.list(JOURNAL_PREFIX):
        with suppress(HoldfastError):
            yield decode_entry(repository.keys, info.name, repository.storage.get(info.name))
