"""List, add and remove the key slots of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.identity import new_identity, render_identity
from holdfast.repository.unlock import Identity, Passphrase

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.config.secrets import SecretSource
    from holdfast.repository.key_slot import KeySlot, SlotKind


def list_keys(stack: Stack, asked: str | None) -> list[KeySlot]:
    """Return the key slots, oldest first."""
    return open_stack_repository(stack, asked).key_slots()


def add_passphrase(stack: Stack, asked: str | None, source: SecretSource, label: str) -> KeySlot:
    """Add a slot that a passphrase opens; the passphrase is read before the repository is opened."""
    passphrase = Passphrase(source.read().reveal().encode())
    return open_stack_repository(stack, asked).add_key(passphrase, label)


def add_identity(stack: Stack, asked: str | None, kind: SlotKind, label: str) -> tuple[KeySlot, str]:
    """Add a recovery identity or a writer credential; return its slot and its text, which is kept nowhere."""
    secret = new_identity()
    slot = open_stack_repository(stack, asked).add_key(Identity(secret, kind), label)
    return slot, render_identity(secret, kind)


def remove_key(stack: Stack, asked: str | None, beginning: str) -> KeySlot:
    """Remove the slot whose id begins so. Raises UsageError when none or several do, and for the last that decrypts."""
    return open_stack_repository(stack, asked).remove_key(beginning)
