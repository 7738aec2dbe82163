"""Make a repository, with its first keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.config.choose import choose_repository
from holdfast.errors import UsageError
from holdfast.operations.wiring import make_storage, make_unlock
from holdfast.repository.identity import new_identity, render_identity
from holdfast.repository.init import init_repository, init_unencrypted
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.unlock import Identity

if TYPE_CHECKING:
    from holdfast.config.models import Stack


@dataclass(frozen=True)
class InitResult:
    """A new repository. ``recovery_identity`` opens it alone: it is shown once, to be printed and locked away."""

    name: str
    url: str
    repository_id: str
    is_encrypted: bool
    recovery_identity: str | None


def init(stack: Stack, asked: str | None, *, unencrypted: bool) -> InitResult:
    """Make the repository that the stack file describes.

    ``unencrypted`` must say the same as the configuration: neither alone makes a repository without encryption.
    """
    clock.require_plausible()
    name, config = choose_repository(stack, asked=asked)
    secret = make_unlock(config)
    if unencrypted != (secret is None):
        raise UsageError(
            "the command line and the stack file disagree on whether the repository is encrypted",
            hint="for an unencrypted one say both --unencrypted here and 'unencrypted: true' in the stack file",
        )
    storage = make_storage(config)
    if secret is None:
        made = init_unencrypted(storage)
        return InitResult(name, storage.url, made.id, is_encrypted=False, recovery_identity=None)
    recovery = new_identity()
    slots = [(secret, "first"), (Identity(recovery, SlotKind.RECOVERY), "recovery")]
    made = init_repository(storage, slots)
    text = render_identity(recovery, SlotKind.RECOVERY)
    return InitResult(name, storage.url, made.id, is_encrypted=True, recovery_identity=text)
