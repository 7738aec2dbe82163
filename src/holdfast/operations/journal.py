"""Read the journal: what was done in place, as the repository tells it, and what only this machine knows yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.operations.in_place.place import service_state
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.journal import read_entries
from holdfast.restore.journal import read_journal

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.repository.journal import JournalEntry


def list_journal(stack: Stack, asked: str | None, service: str | None) -> list[JournalEntry]:
    """Return the deeds of the stack, oldest first: those of a repository, and of this machine those not in it.

    UsageError when there is no such service; DamageError when an entry in the repository does not open.
    """
    if service is not None:
        choose_service(stack, service)
    repository = open_stack_repository(stack, asked, service)
    by_id = {entry.id: entry for name in stack.services for entry in read_journal(service_state(stack, name))}
    by_id |= {entry.id: entry for entry in read_entries(repository.storage, repository.keys)}
    wanted = (entry for entry in by_id.values() if entry.stack == stack.stack and service in {None, entry.service})
    return sorted(wanted, key=lambda entry: (entry.begun, entry.id))
