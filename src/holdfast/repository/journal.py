"""The journal of what was done to services in place: small sealed objects, one for each deed, that nobody rewrites.

The same entries are kept beside the service (``restore.journal``); here they survive the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import AlreadyExistsError
from holdfast.repository.sealed import ObjectType, open_record, seal_object

if TYPE_CHECKING:
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer, Storage

JOURNAL_PREFIX = "journal"


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deed. Times are ISO 8601 in UTC, to the microsecond: deeds of one second are told apart by them.

    ``ended`` is empty and ``result`` "begun" until it has an end, which is "done", "put back" or "failed"; ``reason``
    says why where it was not done. ``who`` is the account, with the one behind sudo; ``was`` and ``became`` say what
    was in service before and after, and ``identity_was`` and ``identity_became`` which cluster on which timeline that
    is ("7321/2"), as far as it is known.
    """

    id: str
    stack: str
    service: str
    action: str
    who: str
    host: str
    tool_version: str
    begun: str
    directory: str
    was: str
    became: str
    identity_was: str = ""
    identity_became: str = ""
    snapshot: str = ""
    target: str = ""
    checkpoint: str = ""
    ended: str = ""
    result: str = "begun"
    reason: str = ""
    outage_s: float | None = None

    @property
    def object_name(self) -> str:
        """Where it is stored."""
        return f"{JOURNAL_PREFIX}/{self.id}"

    @property
    def instants(self) -> tuple[str, ...]:
        """Its times, as text."""
        return (self.begun,)


def store_entry(storage: Storage, keys: Keys, entry: JournalEntry) -> None:
    """Store an entry that has its end; one that is stored already is left as it is."""
    content = seal_object(keys, ObjectType.JOURNAL, entry.object_name, msgspec.json.encode(entry))
    try:
        storage.put(entry.object_name, content)
    except AlreadyExistsError:
        return


def stored_entry_ids(storage: Storage) -> set[str]:
    """Return the ids of the entries that are stored."""
    return {info.name.rpartition("/")[2] for info in storage.list(JOURNAL_PREFIX)}


def decode_entry(keys: Keys, name: str, stored: Buffer) -> JournalEntry:
    """Return the entry stored under ``name``, or raise DamageError."""
    return open_record(keys, ObjectType.JOURNAL, name, stored, JournalEntry)


def read_entries(storage: Storage, keys: Keys) -> list[JournalEntry]:
    """Return every entry, oldest first; DamageError where one does not open."""
    names = [info.name for info in storage.list(JOURNAL_PREFIX)]
    entries = [decode_entry(keys, name, storage.get(name)) for name in names]
    return sorted(entries, key=lambda entry: (entry.begun, entry.id))
