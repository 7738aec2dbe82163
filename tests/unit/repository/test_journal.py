"""Journal entries: sealed to their own name, read back as they were, stored once."""

import msgspec
import pytest

from holdfast.errors import DamageError
from holdfast.repository.journal import JournalEntry, decode_entry, read_entries, store_entry, stored_entry_ids
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage


@pytest.fixture
def keys():
    return Keys("00" * 16, new_keyring())


def entry(number):
    return JournalEntry(
        id=f"{number:032x}",
        stack="shop",
        service="db",
        action="undo",
        who="root",
        host="db1",
        tool_version="0",
        begun=f"2026-11-21T10:00:0{number}+00:00",
        directory="/data",
        was="a",
        became="b",
        ended="2026-11-21T10:01:00+00:00",
        result="done",
        outage_s=1.5,
    )


def test_round_trip(keys):
    storage = MemoryStorage()
    store_entry(storage, keys, entry(2))
    store_entry(storage, keys, entry(1))
    assert read_entries(storage, keys) == [entry(1), entry(2)]
    assert stored_entry_ids(storage) == {entry(1).id, entry(2).id}


def test_an_entry_is_never_rewritten(keys):
    storage = MemoryStorage()
    store_entry(storage, keys, entry(1))
    store_entry(storage, keys, msgspec.structs.replace(entry(1), result="failed"))
    assert read_entries(storage, keys) == [entry(1)]


def test_under_another_name_it_does_not_open(keys):
    storage = MemoryStorage()
    store_entry(storage, keys, entry(1))
    stored = storage.get(entry(1).object_name)
    with pytest.raises(DamageError):
        decode_entry(keys, entry(2).object_name, stored)


@pytest.mark.parametrize("begun", ["", "yesterday", "2026-11-21T10:00:00", "9999-12-31T23:59:59-14:00"])
def test_a_deed_of_no_time_is_damage(keys, begun):
    """It was an internal error of whoever listed the journal."""
    storage = MemoryStorage()
    store_entry(storage, keys, msgspec.structs.replace(entry(1), begun=begun))
    with pytest.raises(DamageError, match="cannot be read"):
        read_entries(storage, keys)
