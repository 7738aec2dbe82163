"""Push one WAL file: what ``archive_command`` comes down to when nobody has shipped the file ahead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.wal.opening import connect
from holdfast.wal.push import PushResult
from holdfast.wal.push import push as push_file
from holdfast.wal.reading import read_wal_file
from holdfast.wal.settings import is_stale, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.wal.reading import WalFile
    from holdfast.wal.settings import WalSettings


def push(
    service: str, path: str, settings_file: str, read: Callable[[str, int], WalFile] = read_wal_file
) -> PushResult:
    """Store one file durably, with the settings in a file; errors as in ``wal.push.push``."""
    return push_file(current_settings(service, settings_file), path, connect, read)


def current_settings(service: str, settings_file: str) -> WalSettings:
    """Return the settings of a service, renewed where the stack file was edited since they were made."""
    settings = read_settings(os.path.abspath(settings_file))
    if settings.service != service:
        raise UsageError(f"{settings_file} holds the settings of the service {settings.service}, not of {service}")
    if is_stale(settings):
        from holdfast.operations.wal.renewal import renew

        return renew(settings)
    return settings
