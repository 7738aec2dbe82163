"""The file that has a cluster recover when it is started (manual, section 20.5.4): one of two, never both."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.postgres.account import server_account

if TYPE_CHECKING:
    from pathlib import Path


class Signal(StrEnum):
    """What the server does at the end of the WAL."""

    STAY = "standby.signal"
    """Wait for more."""
    END = "recovery.signal"
    """End recovery."""


def put_signal(data_directory: Path, signal: Signal) -> None:
    """Put it into a cluster that is stopped, in place of the other; it belongs to whom the directory does."""
    for other in set(Signal) - {signal}:
        (data_directory / other).unlink(missing_ok=True)
    path = data_directory / signal
    path.touch()
    path.chmod(stat.S_IMODE(data_directory.stat().st_mode) & 0o640)
    if os.geteuid() == 0:
        server_account(data_directory).take_over(path)
