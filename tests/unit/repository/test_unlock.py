"""Opening key slots beside other work: in parallel, and never longer than whoever asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.unit.repository.building import OWNER, make_repository

from holdfast.errors import KeyRefusedError
from holdfast.repository.unlock import Identity, unlock_keyring
from holdfast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from holdfast.repository.key_slot import KeySlot
    from holdfast.repository.keys import Keyring

REPOSITORY_ID = "ab" * 16
TIMEOUT_S = 30


@dataclass(frozen=True)
class Held:
    """A secret that fits no slot, and tries one only when it may; says when it began, and which it tried."""

    may_go_on: threading.Event = field(default_factory=threading.Event)
    has_begun: threading.Event = field(default_factory=threading.Event)
    tried: list[str] = field(default_factory=list)

    def open(self, repository_id: str, slot: KeySlot) -> Keyring | None:
        """Try a slot (an Unlock)."""
        self.tried.append(slot.id)
        self.has_begun.set()
        assert self.may_go_on.wait(TIMEOUT_S)
        return None


@pytest.fixture
def storage() -> MemoryStorage:
    """A repository with three slots."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    for number in range(2):
        repository.add_key(Identity(bytes([number]) * 32), "more")
    return storage


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("unlock") for thread in threading.enumerate())


def test_a_slot_is_tried_while_the_caller_does_something_else(storage) -> None:
    secret = Held()

    def meanwhile() -> None:
        assert secret.has_begun.wait(TIMEOUT_S)
        secret.may_go_on.set()

    with pytest.raises(KeyRefusedError):
        unlock_keyring(storage, REPOSITORY_ID, secret, meanwhile)
    assert len(secret.tried) == 3
    assert no_thread_is_left()


def test_an_interruption_waits_for_the_slot_that_is_tried_and_for_no_other(storage) -> None:
    secret = Held()

    def meanwhile() -> None:
        assert secret.has_begun.wait(TIMEOUT_S)
        threading.Timer(0.5, secret.may_go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlock_keyring(storage, REPOSITORY_ID, secret, meanwhile)
    assert len(secret.tried) == 1
    assert no_thread_is_left()


def test_what_is_done_meanwhile_is_over_before_a_keyring_is_given(storage) -> None:
    done: list[str] = []
    repository_id = make_repository(other := MemoryStorage()).config.id
    unlock_keyring(other, repository_id, OWNER, lambda: done.append("meanwhile"))
    assert done == ["meanwhile"]
    assert no_thread_is_left()
