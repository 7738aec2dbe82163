"""Stopping and starting the server of a service by the operator's own commands, and knowing that it is so (a Switch).

What a command says is not believed: the server is stopped when its lock is gone or its process is, and nobody answers;
it is started when it takes connections.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, ServerError, ServerUnreachableError, UsageError
from holdfast.postgres.account import server_account
from holdfast.postgres.answer_limit import answering_within
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.ping import is_answering, is_taking_connections
from holdfast.postgres.running import require_stopped
from holdfast.services.postgres.health import Checks, require_identity, run_checks
from holdfast.services.postgres.server_commands import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from holdfast.postgres.account import ChildIdentity
    from holdfast.progress import Reporter
    from holdfast.services.postgres.server_commands import CommandAnswer, ServerCommands

_POLL_S = 0.02
_CONNECTED_WITHIN_S = 15.0
_RETRY_S = 0.2


@dataclass(frozen=True)
class ActivationOptions:
    """A server in service: its commands, how it is reached, and what is asked of it before it counts as well.

    ``flush_timeout_s`` is long: while a slow disk writes a checkpoint, the service is not out yet.
    """

    data_directory: Path
    conninfo: str
    commands: ServerCommands
    checks: Checks
    stop_timeout_s: float = 60
    start_timeout_s: float = 60
    flush_timeout_s: float = 300


class PostgresSwitch:
    """The server of one service (a Switch)."""

    def __init__(self, options: ActivationOptions) -> None:
        """Only remember; nothing is run."""
        self._options = options

    @property
    def commands(self) -> ServerCommands:
        """How the server is stopped and started."""
        return self._options.commands

    def is_running(self) -> bool:
        """Whether a server runs in the data directory, or, where that cannot be seen from here, answers."""
        options = self._options
        has_lock = (options.data_directory / "postmaster.pid").exists()
        if not has_lock and (options.data_directory / "PG_VERSION").exists():
            return False
        if has_lock:
            try:
                require_stopped(options.data_directory)
            except UsageError:
                return True
        return is_answering(options.conninfo)  # from a container, or with its directory gone

    def flush(self, reporter: Reporter) -> None:
        """Write out what the server holds back, so that stopping takes no time.

        Without the right to, or from a server that is down, do nothing; of one that does not get it done, tell. To stop
        it is right all the same: a shutdown writes a checkpoint of its own, and one that hangs is put back.
        """
        with suppress(ServerError), connect(self._options.conninfo) as connection:
            try:
                with answering_within(connection, self._options.flush_timeout_s), translated("running CHECKPOINT"):
                    connection.execute("CHECKPOINT")
            except ServerUnreachableError as error:
                reporter.warning(
                    f"the server in service wrote no checkpoint: {error.message}; it is stopped all the same, and "
                    "writes one then, if it can"
                )

    def stop(self) -> None:
        """Stop the server. Also run where none runs: systemd may be about to start it again."""
        self._stop_by(self._options.commands.stop)

    def end(self) -> None:
        """Stop the server, at once if it does not stop in order: what it would still do must not keep a better one out.

        Nothing that it has committed is lost: its next start recovers.
        """
        try:
            self.stop()
        except HoldfastError:
            if not self._options.commands.end:
                raise
            self._stop_by(self._options.commands.end)

    def _stop_by(self, command: Sequence[str]) -> None:
        options = self._options
        began = clock.monotonic()
        answer = self._run(command, options.stop_timeout_s) if options.data_directory.exists() else None
        left_s = options.stop_timeout_s - (clock.monotonic() - began)
        if not self._waits_until(lambda: not self.is_running(), left_s):
            raise HoldfastError(
                f"the server did not stop within {options.stop_timeout_s:g} s",
                hint="its log may tell why: a shutdown waits for its checkpoint, for archive_command and for standbys; "
                "raise restore.stop_timeout, or correct the command that stops it",
                details=(*(answer.shown if answer else ()), *self._why_running()),
            )

    def start(self) -> None:
        """Start the server, and wait until it takes connections; one that is still stopping must end first."""
        options = self._options
        self._require_settled()
        if self.is_running():
            return
        if options.commands.ready:
            self._run(options.commands.ready, options.start_timeout_s)
        answer = self._run(options.commands.start, options.start_timeout_s)
        if answer.code != 0:
            raise HoldfastError(
                f"the command that starts the server {answer.ending}: {' '.join(options.commands.start)}",
                hint="the lines above are its own; the server's log may tell more",
                details=answer.shown,
            )
        if not self._waits_until(lambda: is_taking_connections(options.conninfo), options.start_timeout_s):
            raise HoldfastError(
                f"the server takes no connections {options.start_timeout_s:g} s after it was started",
                hint="look at its log; if it only needs longer, raise restore.start_timeout",
                details=answer.shown,
            )

    def check(self, identity: str) -> None:
        """Raise unless the cluster of this identity answers and the operator's statements are content."""
        self._await_connection()
        require_identity(self._options.conninfo, identity)
        self.run_checks()

    def run_checks(self) -> None:
        """Raise HoldfastError for the first of the operator's statements that is not content."""
        run_checks(self._options.conninfo, self._options.checks)

    def without_checks(self) -> PostgresSwitch:
        """Return the same server, as well as soon as the right cluster answers, whatever is in it."""
        return PostgresSwitch(replace(self._options, checks=Checks({}, self._options.checks.timeout_s)))

    def _await_connection(self) -> None:
        """Wait a little for a connection: after a swap all clients come back at once, and may take every one."""
        deadline = clock.monotonic() + min(_CONNECTED_WITHIN_S, self._options.start_timeout_s)
        while True:
            try:
                connect(self._options.conninfo).close()
            except ServerError:
                if clock.monotonic() > deadline:
                    raise
                clock.sleep(_RETRY_S)
            else:
                return

    def _require_settled(self) -> None:
        """Wait until the server takes connections or is gone: an order to stop cannot be taken back."""
        options = self._options
        timeout_s = max(options.stop_timeout_s, options.start_timeout_s)
        if not self._waits_until(lambda: not self.is_running() or is_taking_connections(options.conninfo), timeout_s):
            raise HoldfastError(
                "the server is neither up nor down: it takes no connections, and has not ended",
                hint="its log may tell why: a shutdown waits for its checkpoint, for archive_command and for standbys",
                details=self._why_running(),
            )

    def _why_running(self) -> tuple[str, ...]:
        try:
            require_stopped(self._options.data_directory)
        except UsageError as error:
            return (error.message, error.hint or "")
        return (f"something answers at {self._options.conninfo.partition('password')[0].strip()}",)

    def _waits_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = clock.monotonic() + timeout_s
        while not condition():
            if clock.monotonic() > deadline:
                return False
            clock.sleep(_POLL_S)
        return True

    def _run(self, command: Sequence[str], timeout_s: float) -> CommandAnswer:
        options = self._options
        runs_as_owner = options.commands.runs_as_owner
        identity: ChildIdentity = server_account(options.data_directory).child_identity() if runs_as_owner else {}
        return run_command(command, timeout_s, identity)
