"""The secrets that open a repository: each opens key slots of its kind, and makes new ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import DamageError, KeyRefusedError
from holdfast.repository.key_slot import (
    SlotKind,
    identity_slot,
    open_with_identity,
    open_with_passphrase,
    passphrase_slot,
)
from holdfast.repository.slots import parse_slot, stored_slots
from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from holdfast.repository.key_slot import KeySlot
    from holdfast.repository.keys import Keyring
    from holdfast.storage.base import Storage


class Unlock(Protocol):
    """A secret that may open a key slot."""

    def open(self, repository_id: str, slot: KeySlot) -> Keyring | None:
        """Return the slot's keyring, or None when this secret is not the slot's."""
        ...


@dataclass(frozen=True)
class Passphrase:
    """Unlocks passphrase slots."""

    secret: bytes = field(repr=False)

    def open(self, repository_id: str, slot: KeySlot) -> Keyring | None:
        """Try one slot; about half a second where it is a passphrase slot."""
        return open_with_passphrase(repository_id, slot, self.secret)

    def new_slot(self, repository_id: str, keyring: Keyring, label: str) -> KeySlot:
        """Return a slot that this passphrase opens."""
        return passphrase_slot(repository_id, keyring, self.secret, label)


@dataclass(frozen=True)
class Identity:
    """Unlocks recovery or writer slots."""

    secret: bytes = field(repr=False)
    kind: SlotKind = SlotKind.RECOVERY

    def open(self, repository_id: str, slot: KeySlot) -> Keyring | None:
        """Try one slot; immediate."""
        return open_with_identity(repository_id, slot, self.secret)

    def new_slot(self, repository_id: str, keyring: Keyring, label: str) -> KeySlot:
        """Return a slot that this identity opens."""
        return identity_slot(repository_id, keyring, self.secret, self.kind, label)


NewSlot = Passphrase | Identity


def do_nothing() -> None:
    """Use the time in which a key is derived for nothing."""


def unlock_keyring(
    storage: Storage, repository_id: str, unlock: Unlock, meanwhile: Callable[[], None] = do_nothing
) -> Keyring:
    """Return what the first slot that opens holds; a damaged one does not stand in the way of the others.

    ``meanwhile`` is done by the caller's thread while another one tries the slots. The storage is read before: who
    interrupts that need not wait for a storage that is away, but at most for the slot that is being tried.
    Raises KeyRefusedError when none opens, DamageError when one that may have been meant is damaged.
    """
    attempt = _Attempt(stored_slots(storage), repository_id, unlock)
    thread = Thread(attempt.run, "unlock")
    thread.start()
    try:
        meanwhile()
        thread.wait()
    finally:
        attempt.is_over = True
        thread.wait()  # also where an interruption breaks in
    found = attempt.result()
    if found is None:
        raise KeyRefusedError(
            f"no key slot of {storage.url} opens with this secret",
            hint="check the passphrase, or use the recovery identity",
        )
    return found


class _Attempt:
    """Tries slots in a thread of its own, until one opens or ``is_over`` is set."""

    def __init__(self, slots: Iterable[tuple[str, bytes]], repository_id: str, unlock: Unlock) -> None:
        self._slots, self._repository_id, self._unlock = slots, repository_id, unlock
        self._found: Keyring | None = None
        self._failure: BaseException | None = None
        self.is_over = False

    def run(self) -> None:
        try:
            self._found = self._first_keyring()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, and raised there
            self._failure = error

    def result(self) -> Keyring | None:
        """Return what the first slot that opened holds; a damaged one counts only where none did."""
        if self._failure is not None:
            raise self._failure
        return self._found

    def _first_keyring(self) -> Keyring | None:
        damage: DamageError | None = None
        for name, stored in self._slots:
            if self.is_over:
                break
            try:
                keyring = self._unlock.open(self._repository_id, parse_slot(name, stored))
            except DamageError as error:
                damage = error
                continue
            if keyring is not None:
                return keyring
        if damage is not None:
            raise damage
        return None
