"""A new repository: its key slots first, its ``config`` last, for before that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import AlreadyExistsError, UsageError
from holdfast.repository.config import CONFIG_NAME, SUITE_ENCRYPTED, SUITE_PLAIN, new_config
from holdfast.repository.key_slot import KeySlot
from holdfast.repository.keys import Keys, new_keyring
from holdfast.repository.sealed import authenticate, encode_document
from holdfast.repository.slots import store_slot

if TYPE_CHECKING:
    from holdfast.repository.config import RepositoryConfig
    from holdfast.repository.unlock import NewSlot
    from holdfast.storage.base import Storage


def init_repository(storage: Storage, slots: list[tuple[NewSlot, str]]) -> RepositoryConfig:
    """Make an encrypted repository that opens with each of ``slots`` (secret, label).

    Raises UsageError where there is a repository already. ``config`` is stored last: before it, there is none.
    """
    _require_vacant(storage)
    config, keyring = new_config(SUITE_ENCRYPTED), new_keyring()
    keys = Keys(config.id, keyring)
    for secret, label in slots:
        store_slot(storage, keys, secret.new_slot(config.id, keyring, label))
        crashpoint.reach(CrashPoint.INIT_SLOT_STORED)
    return _store_config(storage, keys, config)


def init_unencrypted(storage: Storage) -> RepositoryConfig:
    """Make a repository whose content anybody with access can read; every snapshot in it says so."""
    _require_vacant(storage)
    config = new_config(SUITE_PLAIN)
    return _store_config(storage, Keys(config.id, None), config)


def _require_vacant(storage: Storage) -> None:
    first = next(iter(storage.list()), None)
    if first is not None:
        if all(info.name.startswith(KeySlot.PREFIX) for info in storage.list()):
            raise UsageError(
                f"an init that was broken off, or still runs, left key slots at {storage.url}",
                hint=f"make sure that none runs, delete {KeySlot.PREFIX} there, then run init again",
            )
        is_repository = first.name == CONFIG_NAME or any(info.name == CONFIG_NAME for info in storage.list())
        what = "already a repository" if is_repository else f"something else ({first.name})"
        raise UsageError(
            f"there is {what} at {storage.url}", hint="choose an empty place, or use the one that is there"
        )


def _store_config(storage: Storage, keys: Keys, config: RepositoryConfig) -> RepositoryConfig:
    config = authenticate(keys, CONFIG_NAME, config)
    try:
        storage.put(CONFIG_NAME, encode_document(config))
    except AlreadyExistsError:
        raise UsageError(f"there is already a repository at {storage.url}", hint="another init was faster") from None
    return config
