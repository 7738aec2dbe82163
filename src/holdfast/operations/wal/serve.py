"""Serve one service: ship its WAL ahead until a signal ends it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.operations.wal.opening import connect
from holdfast.operations.wal.push import current_settings
from holdfast.wal.memory import keep_memory
from holdfast.wal.resident import Resident
from holdfast.wal.serve import Serving

if TYPE_CHECKING:
    from types import FrameType

    from holdfast.wal.settings import WalSettings


class LogLines:
    """The Reporter of a service: one line each to standard error, which systemd puts into its journal."""

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Ignore it."""

    def advance(self, done_bytes: int) -> None:
        """Ignore it."""

    def notice(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def warning(self, text: str) -> None:
        """Print a line, with the level that systemd reads (sd-daemon(3))."""
        mark = "<4>" if "JOURNAL_STREAM" in os.environ else "warning: "
        print(f"{mark}{text}", file=sys.stderr, flush=True)  # noqa: T201


class _SettingsFile:
    """The settings, read again when their file or the stack file has changed."""

    def __init__(self, service: str, path: str) -> None:
        self._service, self._path = service, path
        self._stamp: tuple[object, ...] = ()
        self._settings: WalSettings | None = None

    def read(self) -> WalSettings:
        """Return the settings as they are now."""
        stamp = self._look()
        if self._settings is None or stamp != self._stamp:
            self._settings = current_settings(self._service, self._path)
            self._stamp = self._look()
        return self._settings

    def _look(self) -> tuple[object, ...]:
        paths = [self._path] if self._settings is None else [self._path, self._settings.source.path]
        return tuple(_stamp_of(path) for path in paths)


def run_short(service: str, operands: tuple[str, ...], settings_file: str) -> None:
    """Carry out ``wal serve SERVICE --settings FILE``; returns after SIGTERM or SIGINT, what is in work being done."""
    if operands:
        raise UsageError("wal serve takes a service only", hint="holdfast wal serve SERVICE")
    gc.enable()
    keep_memory()
    settings = _SettingsFile(service, os.path.abspath(settings_file))
    with Resident(settings.read().spool) as resident:
        serving = Serving(settings.read, connect, resident, LogLines())

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal wants it
            serving.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        serving.run()


def _stamp_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
