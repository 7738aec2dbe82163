"""Ask the journal which timelines of a service's cluster an undo has left, so that "latest" is what is in service."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.operations.in_place.place import service_state
from holdfast.repository.journal import JOURNAL_PREFIX, decode_entry
from holdfast.restore.journal import read_journal
from holdfast.restore.left import left_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    by_id = {entry.id: entry for entry in _of_this_machine(stack, service)}
    by_id |= {entry.id: entry for entry in _stored(repository)}
    own = [entry for entry in by_id.values() if (entry.stack, entry.service) == (stack.stack, service)]
    return left_timelines(sorted(own, key=lambda entry: (entry.begun, entry.id)), system_identifier, lineage)


def _of_this_machine(stack: Stack, service: str) -> list[JournalEntry]:
    if service in stack.services:
        with suppress(OSError):  # another account's
            return read_journal(service_state(stack, service))
    return []


def _stored(repository: Repository) -> Iterator[JournalEntry]:
    for info in repository.storage.list(JOURNAL_PREFIX):
        with suppress(HoldfastError):
            yield decode_entry(repository.keys, info.name, repository.storage.get(info.name))
