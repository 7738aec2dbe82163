"""Servers that outlived the run which started them, as it was killed: ended before their directory is deleted.

Else one would write into the directory while it is deleted, and go on for up to a minute without it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from holdfast import clock

_PROCESSES = Path("/proc")
_SERVER = "postgres"
_END_WITHIN_S = 30
_POLL_S = 0.05


def end_servers(directory: Path) -> None:
    """End the servers whose data directory is ``directory`` or lies below, and wait for that.

    They are known by their working directory, not by a number in a file, which may be another process's by now.
    """
    for process in _PROCESSES.iterdir():
        with suppress(OSError):  # it has ended, or is not ours
            if process.name.isdecimal() and _is_server_in(process, directory):
                os.kill(int(process.name), signal.SIGQUIT)
                _wait_for_end(process)


def _is_server_in(process: Path, directory: Path) -> bool:
    is_server = (process / "comm").read_text().strip() == _SERVER
    return is_server and Path(os.readlink(process / "cwd")).is_relative_to(directory)


def _wait_for_end(process: Path) -> None:
    deadline = clock.monotonic() + _END_WITHIN_S
    while process.exists() and clock.monotonic() < deadline:
        clock.sleep(_POLL_S)
