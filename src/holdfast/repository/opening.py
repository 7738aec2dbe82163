"""Opening a repository: what it says of itself, then a secret that fits one of its key slots, then everything else.

Nothing is written, here or by who waits for this, before a repository is open; and what stands in the way of that is
said before anything else is found to be wrong. A passphrase takes half a second, which need not be lost: see
``meanwhile``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import NoRepositoryError, NotFoundError, UsageError
from holdfast.repository.config import CONFIG_NAME, parse_config
from holdfast.repository.keys import Keys
from holdfast.repository.repository import Repository
from holdfast.repository.sealed import require_authentic
from holdfast.repository.unlock import do_nothing, unlock_keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.cache import ObjectCache
    from holdfast.repository.config import RepositoryConfig
    from holdfast.repository.unlock import Unlock
    from holdfast.storage.base import Storage


def open_repository(
    storage: Storage,
    unlock: Unlock | None,
    cache: Callable[[str], ObjectCache],
    meanwhile: Callable[[], None] = do_nothing,
) -> Repository:
    """Open a repository; ``unlock`` is None for an unencrypted one. ``cache`` makes the cache for a repository id.

    ``meanwhile`` is done while a key is derived (``unlock_keyring``): it may neither write anything nor fail.
    Raises NoRepositoryError, KeyRefusedError (no slot opens), DamageError (config altered).
    """
    stored = _stored_config(storage)
    config = parse_config(stored)
    if config.is_encrypted != (unlock is not None):
        raise _mode_error(config)
    keyring = unlock_keyring(storage, config.id, unlock, meanwhile) if unlock else None
    keys = Keys(config.id, keyring)
    require_authentic(keys, CONFIG_NAME, config, stored)
    return Repository(storage, config, keys, cache(config.id))


def _stored_config(storage: Storage) -> bytes:
    try:
        return bytes(storage.get(CONFIG_NAME))
    except NotFoundError:
        raise NoRepositoryError(
            f"there is no repository at {storage.url}",
            hint="check the location, and that its disk is mounted; 'holdfast init' makes a new one, which is empty",
        ) from None


def _mode_error(config: RepositoryConfig) -> UsageError:
    if config.is_encrypted:
        return UsageError(
            "the repository is encrypted, and the configuration names no secret for it",
            hint="add 'passphrase:' or 'identity:' to the repository in the stack file",
        )
    return UsageError(
        "the repository is not encrypted, but the configuration names a secret for it",
        hint="nothing was written; if that is meant, say 'encryption: none' instead of the secret",
    )
