"""Push one WAL file: what ``archive_command`` comes down to when nobody has shipped the file ahead."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.wal.opening import connect
from holdfast.wal.push import PushResult
from holdfast.wal.push import push as push_file
from holdfast.wal.settings import is_stale, read_settings

if TYPE_CHECKING:
    from holdfast.wal.settings import WalSettings


def run_short(service: str, operands: tuple[str, ...], settings_file: str) -> None:
    """Carry out ``wal push SERVICE PATH --settings FILE``; nothing is said but warnings."""
    if len(operands) != 1:
        raise UsageError("wal push takes a service and a path", hint="holdfast wal push SERVICE %p --settings FILE")
    for warning in push(service, operands[0], settings_file).warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201 - the server's log is where it is read


def push(service: str, path: str, settings_file: str) -> PushResult:
    """Store one file durably, with the settings in a file; errors as in ``wal.push.push``."""
    settings = current_settings(service, settings_file)
    return push_file(settings, path, connect)


def current_settings(service: str, settings_file: str) -> WalSettings:
    """Return the settings of a service, renewed where the stack file was edited since they were made."""
    settings = read_settings(os.path.abspath(settings_file))
    if settings.service != service:
        raise UsageError(f"{settings_file} holds the settings of the service {settings.service}, not of {service}")
    if is_stale(settings):
        from holdfast.operations.wal.renewal import renew

        return renew(settings)
    return settings
