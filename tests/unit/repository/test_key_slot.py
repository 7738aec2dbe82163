"""One key slot: what opens it, and what does not."""

from __future__ import annotations

import time

import msgspec
import pytest

from holdfast.errors import DamageError
from holdfast.repository.key_slot import (
    Argon2Parameters,
    KeySlot,
    SlotKind,
    identity_slot,
    open_with_identity,
    open_with_passphrase,
    passphrase_slot,
)
from holdfast.repository.keys import new_keyring

REPOSITORY_ID = "ab" * 16


def test_a_passphrase_opens_its_slot_alone() -> None:
    keyring = new_keyring()
    slot = passphrase_slot(REPOSITORY_ID, keyring, b"correct horse")
    assert open_with_passphrase(REPOSITORY_ID, slot, b"correct horse") == keyring
    assert open_with_passphrase(REPOSITORY_ID, slot, b"wrong horse") is None
    with pytest.raises(DamageError, match=slot.id):
        open_with_passphrase("cd" * 16, slot, b"correct horse")


@pytest.mark.parametrize("kind", [SlotKind.RECOVERY, SlotKind.WRITER])
def test_an_identity_opens_its_slot_alone(kind: SlotKind) -> None:
    keyring = new_keyring()
    slot = identity_slot(REPOSITORY_ID, keyring, b"i" * 32, kind)
    opened = open_with_identity(REPOSITORY_ID, slot, b"i" * 32)
    assert opened == (keyring.for_writer() if kind is SlotKind.WRITER else keyring)
    assert open_with_identity(REPOSITORY_ID, slot, b"j" * 32) is None
    assert open_with_identity("cd" * 16, slot, b"i" * 32) is None


def test_a_slot_moved_to_another_id_does_not_open() -> None:
    slot = identity_slot(REPOSITORY_ID, new_keyring(), b"i" * 32, SlotKind.RECOVERY)
    assert open_with_identity(REPOSITORY_ID, msgspec.structs.replace(slot, id="0" * 32), b"i" * 32) is None


@pytest.mark.parametrize("kind", [SlotKind.RECOVERY, SlotKind.WRITER])
def test_two_slots_of_one_identity_share_no_key(kind: SlotKind) -> None:
    keyring = new_keyring()
    slots = [identity_slot(REPOSITORY_ID, keyring, b"i" * 32, kind) for _ in range(2)]
    assert slots[0].commitment != slots[1].commitment
    swapped = msgspec.structs.replace(slots[0], wrapped=slots[1].wrapped)
    with pytest.raises(DamageError, match="the slot is damaged"):
        open_with_identity(REPOSITORY_ID, swapped, b"i" * 32)


def test_a_slot_holds_nothing_that_a_keyring_could_be_sealed_to() -> None:
    slots = [
        passphrase_slot(REPOSITORY_ID, new_keyring(), b"correct horse"),
        identity_slot(REPOSITORY_ID, new_keyring(), b"i" * 32, SlotKind.RECOVERY),
    ]
    secretless = {"id", "kind", "created", "wrapped", "label", "argon2", "commitment", "mac"}
    assert {name for slot in slots for name in msgspec.to_builtins(slot)} == secretless


@pytest.fixture(scope="module")
def slot() -> KeySlot:
    """The slot of a passphrase: to make one takes half a second, as it should."""
    return passphrase_slot(REPOSITORY_ID, new_keyring(), b"correct horse")


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 0},
        {"lanes": 0},
        {"memory_kib": 1},
        {"salt": b"x"},
        {"memory_kib": 1 << 40},
        {"iterations": 10**9},
    ],
)
def test_absurd_parameters_are_damage_and_cost_nothing(slot: KeySlot, changes: dict[str, object]) -> None:
    assert isinstance(slot.argon2, Argon2Parameters)
    spoilt = msgspec.structs.replace(slot, argon2=msgspec.structs.replace(slot.argon2, **changes))
    began = time.process_time()
    with pytest.raises(DamageError, match=slot.id):
        open_with_passphrase(REPOSITORY_ID, spoilt, b"correct horse")
    assert time.process_time() - began < 0.3
