"""Key slots as stored objects: read, written, and found by what a user types. What they wrap is for ``keys``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import DamageError, UsageError
from holdfast.repository.key_slot import KeySlot
from holdfast.repository.sealed import authenticate, encode_document
from holdfast.repository.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage

_SHORT = 8
_NEAR = 3


def store_slot(storage: Storage, keys: Keys, slot: KeySlot) -> KeySlot:
    """Store a slot, authenticated; return it as stored."""
    name = KeySlot.PREFIX + slot.id
    slot = authenticate(keys, name, slot)
    storage.put(name, encode_document(slot))
    return slot


def stored_slots(storage: Storage) -> list[tuple[str, bytes]]:
    """Return (object name, stored bytes) of every slot; fetched side by side, as each host has one."""
    names = [info.name for info in storage.list(KeySlot.PREFIX.rstrip("/"))]
    return [(name, bytes(stored)) for name, stored in zip(names, side_by_side(storage.get, names), strict=True)]


def parse_slot(name: str, stored: bytes) -> KeySlot:
    """Return the slot stored under ``name``, not yet authenticated; DamageError where it cannot be read."""
    try:
        slot = msgspec.json.decode(stored, type=KeySlot)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamageError(name, f"unreadable ({error})", hint="open the repository with another key slot") from error
    if KeySlot.PREFIX + slot.id != name:
        raise DamageError(name, "it says that it is another slot", hint="open the repository with another key slot")
    return slot


def choose_slot(slots: Sequence[KeySlot], beginning: str) -> KeySlot:
    """Return the slot whose id begins so. UsageError names near ids where none does, and all where several do."""
    fitting = [slot for slot in slots if slot.id.startswith(beginning.lower())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"key slot {beginning!r} is ambiguous",
            hint="give more digits",
            details=tuple(f"{slot.id}  {slot.kind}  {slot.label}".rstrip() for slot in fitting),
        )
    import difflib

    short = [slot.id[: max(len(beginning), _SHORT)] for slot in slots]
    near = difflib.get_close_matches(beginning.lower(), short, n=_NEAR)
    hint = f"did you mean {', '.join(near)}?" if near else "'holdfast key list' lists what there is"
    raise UsageError(f"there is no key slot {beginning!r}", hint=hint)
