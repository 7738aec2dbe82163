"""From compiled settings to an open archive: the wiring of the short way, which reads no stack file.

Imports are kept to what storing one file needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import NoRepositoryError, NotFoundError, VerificationError
from holdfast.repository.config import CONFIG_NAME, parse_config
from holdfast.repository.sealed import require_authentic
from holdfast.storage.options import StorageOptions
from holdfast.storage.url import open_storage
from holdfast.wal.archive import WalArchive

if TYPE_CHECKING:
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage
    from holdfast.wal.settings import WalSettings

_PATIENCE_S = 15.0
"""PostgreSQL asks again by itself: waiting longer within a call would only hold up its shutdown."""
_ANSWER_S, _SLOWEST_BYTES_S = 30.0, 256 << 10
"""A storage that hangs is given up after so long, and as long as a segment takes on the slowest line to be expected."""


def connect(settings: WalSettings) -> WalArchive:
    """Open the repository of the settings; errors as in ``wal.push.Connector``."""
    storage, keys = open_storage(settings.repository_url, _storage_options(settings)), settings.keys()
    _require_repository(settings, storage, keys)
    return WalArchive(storage, keys, settings.system_identifier, level=settings.level, scratch=settings.spool)


def _storage_options(settings: WalSettings) -> StorageOptions:
    given = settings.storage_options
    timeout_s = min(StorageOptions().request_timeout_s, _ANSWER_S + settings.segment_size / _SLOWEST_BYTES_S)
    if not given:
        return StorageOptions(retry_deadline_s=_PATIENCE_S, request_timeout_s=timeout_s)
    import msgspec

    options = msgspec.convert(given, StorageOptions)
    patience_s = min(options.retry_deadline_s, _PATIENCE_S)
    return msgspec.convert({**given, "retry_deadline_s": patience_s, "request_timeout_s": timeout_s}, StorageOptions)


def _require_repository(settings: WalSettings, storage: Storage, keys: Keys) -> None:
    """Raise unless the very repository of the settings is there: an empty mount point must not be written into."""
    try:
        stored = bytes(storage.get(CONFIG_NAME))
    except NotFoundError:
        raise NoRepositoryError(
            f"{storage.url} holds no repository",
            hint="see whether its disk is mounted; for another repository, run 'holdfast wal setup' again",
        ) from None
    config = parse_config(stored)
    if config.id != settings.repository_id:
        raise VerificationError(
            f"{storage.url} holds the repository {config.id[:8]}; the settings are for {settings.repository_id[:8]}",
            hint="if that is meant, run 'holdfast wal setup' again",
        )
    require_authentic(keys, CONFIG_NAME, config, stored)
