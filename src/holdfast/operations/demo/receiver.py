"""``holdfast wal receive`` beside the demo: a process of its own, as systemd would run it, ended with the demo.

The cluster takes it for a synchronous standby: a commit is acknowledged when its WAL is durable in the repository.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.operations.demo.interruption import interruptions_held_back
from holdfast.postgres.connection import connect, translated

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from holdfast.operations.demo.stage import Stage
    from holdfast.operations.demo.workspace import Workspace

NAME = "holdfast_db"
"""Of the slot and the standby, as Holdfast makes it from the service's name."""

_IS_SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s AND sync_state = 'sync'"
_MAKE_SYNCHRONOUS = (f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'", "SELECT pg_reload_conf()")
_POLL_S = 0.05
_TIMEOUT_S = 60.0


class ReceiverProcess:
    """Runs from ``start`` until ``stop``; may be started again. As a context manager it is stopped in the end."""

    def __init__(self, workspace: Workspace, stage: Stage) -> None:
        """Only remember."""
        self._workspace, self._stage = workspace, stage
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Do nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        with interruptions_held_back():
            self.stop()

    def start(self) -> None:
        """Show the command and begin."""
        arguments = ["-c", str(self._workspace.stack_file), "wal", "receive", "db", "--create-slot"]
        self._stage.say(f"\n$ holdfast {shlex.join(arguments)} &")
        with self._log.open("ab") as log, interruptions_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holdfast", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us to handle
            )

    def stop(self) -> None:
        """End in order: what was received is stored."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def wait_until_synchronous(self, conninfo: str) -> None:
        """Make the server wait for it at each commit, and return when it does."""
        deadline = clock.monotonic() + _TIMEOUT_S
        with connect(conninfo) as connection, translated("waiting for the receiver"):
            for statement in _MAKE_SYNCHRONOUS:
                connection.execute(statement)
            while connection.execute(_IS_SYNCHRONOUS, [NAME]).fetchone() != (1,):
                if clock.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise ServerError("'holdfast wal receive' does not stream", details=tuple(self._said()))
                clock.sleep(_POLL_S)

    @property
    def _log(self) -> Path:
        return self._workspace.root / "receive.log"

    def _said(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
