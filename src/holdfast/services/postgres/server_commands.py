"""The operator's commands that stop and start the server of a service: which they are, and how one is run."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.postgres.account import ChildIdentity
    from holdfast.postgres.binaries import Binaries

_SHOWN_LINES = 10
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""What a command gets of our environment: user units of systemd need the last two. No secret is among it."""


@dataclass(frozen=True)
class ServerCommands:
    """How a server is stopped and started; ``runs_as_owner``: as the account that owns the data directory, not ours.

    ``end`` stops one that does not stop in order, at once (manual, section 18.5: "Immediate Shutdown"); where it is
    empty, that is left to whoever looks into it. ``ready`` goes before each start, whatever it answers.
    """

    stop: Sequence[str]
    start: Sequence[str]
    end: Sequence[str] = ()
    ready: Sequence[str] = ()
    runs_as_owner: bool = False


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What a command said; ``code`` is None where it was killed, as it did not end in time."""

    code: int | None
    output: str

    @property
    def ending(self) -> str:
        """How it ended, as the end of a sentence."""
        return "did not end in time" if self.code is None else f"ended with {self.code}"

    @property
    def shown(self) -> tuple[str, ...]:
        """The last lines of what it said."""
        return tuple(self.output.splitlines()[-_SHOWN_LINES:])


def systemd_commands(unit: str) -> ServerCommands:
    """Return how systemd stops and starts a unit.

    One that failed too often is not started any more, whatever has changed since, until that is forgotten
    (systemd.unit(5), StartLimitIntervalSec; systemctl(1), reset-failed).
    """
    return ServerCommands(
        stop=("systemctl", "stop", unit),
        start=("systemctl", "start", unit),
        end=("systemctl", "kill", "--signal=SIGQUIT", "--kill-who=main", unit),
        ready=("systemctl", "reset-failed", unit),
    )


def pg_ctl_commands(
    binaries: Binaries, data_directory: Path, log: Path, options: str | None, timeouts_s: tuple[float, float]
) -> ServerCommands:
    """Return how ``pg_ctl`` stops and starts a cluster, with the seconds that each may take."""
    program, (stop_s, start_s) = str(binaries.program("pg_ctl")), timeouts_s
    base = [program, "--pgdata", str(data_directory), "--wait"]
    start = [*base, "--timeout", f"{start_s:.0f}", "--log", str(log), *(["--options", options] if options else [])]
    stop = [*base, "--timeout", f"{stop_s:.0f}"]
    return ServerCommands(
        stop=(*stop, "--mode", "fast", "stop"),
        start=(*start, "start"),
        end=(*stop, "--mode", "immediate", "stop"),
        runs_as_owner=True,
    )


def run_command(command: Sequence[str], timeout_s: float, identity: ChildIdentity) -> CommandAnswer:
    """Run a command to its end; HoldfastError when it cannot be run.

    Its output goes to a file: a server that it leaves behind may keep that open.
    """
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                start_new_session=True,  # Ctrl-C is for us to handle: the server must not get it
                **identity,
            )
            code = child.returncode
        except subprocess.TimeoutExpired:
            code = None
        except OSError as error:
            raise HoldfastError(
                f"cannot run {' '.join(command)}: {reason_of(error)}",
                hint="correct restore.server of this service",
            ) from error
        output.seek(0)
        return CommandAnswer(code, output.read().decode("utf-8", "replace"))
