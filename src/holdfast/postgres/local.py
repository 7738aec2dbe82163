"""A cluster of this machine that we start and stop ourselves: throw-away ones, restored ones, the ones of drills.

The server listens on no network address, only on a socket in a directory of its own that no other account can
enter; so it needs no password, whatever the cluster's own ``pg_hba.conf`` says. What would reach out of the
cluster (TLS files, log collectors) is overruled on the command line, not in its files. Archiving is not touched:
whoever starts a restored cluster gives ``archive_mode=off`` in ``settings``.
"""

from __future__ import annotations

import os
import signal
import subprocess
from enum import Enum
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import ServerError, ServerUnreachableError
from holdfast.postgres.account import Account, server_account
from holdfast.postgres.server_directory import PORT, ServerDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from holdfast.postgres.binaries import Binaries

_FIRST_MAJOR_WITH_LOGIN_TRIGGERS = 17
_STATE_LINE = 7
_READY, _STANDBY = "ready", "standby"
_POLL_S = 0.05
_LOG_TAIL_LINES = 15


class StopMode(Enum):
    """How the server ends (manual, section 18.5 "Shutting Down the Server"); values are the signals."""

    FAST = signal.SIGINT
    IMMEDIATE = signal.SIGQUIT


class LocalCluster:
    """A cluster under our hands. As a context manager it is started, and stopped whatever happens.

    ``settings`` overrule the cluster's configuration while this object runs it. ``account`` is who runs the server
    (``server_account`` by default). Not for several threads.
    """

    def __init__(
        self,
        binaries: Binaries,
        data_directory: Path,
        *,
        account: Account | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Only remember; nothing is started."""
        self.binaries = binaries
        self.data_directory = data_directory
        self._account = account or server_account(data_directory)
        self._settings = dict(settings or {})
        self._private: ServerDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and remove the private directory."""
        self.close()

    @property
    def pid(self) -> int | None:
        """The id of the server's first process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def is_running(self) -> bool:
        """Whether the server's first process is there."""
        return self.pid is not None

    def conninfo(self, *, user: str = "postgres", dbname: str = "postgres") -> str:
        """Return the connection string; ServerError before the first start."""
        return f"host={self._require_private()} port={PORT} user={user} dbname={dbname}"

    def log(self) -> str:
        """Return what the server wrote since the first start."""
        return _text(self._private.path / "log") if self._private else ""

    @property
    def log_for_others(self) -> Path:
        """A file that the server can write to when somebody else starts it; ServerError before the first start."""
        return self._require_private() / "pg_ctl.log"

    @property
    def options(self) -> list[str]:
        """The server's command line after ``-D``, for whoever else starts it; ServerError before the first start."""
        return self._command(self._require_private())[3:]

    def start(self, *, timeout_s: float = 60) -> None:
        """Start the server and wait until it takes connections (also read-only ones, on a standby).

        ServerError, with the end of the server's log, when it gives up; ServerUnreachableError after ``timeout_s``
        seconds, and then it is stopped.
        """
        self.launch()
        try:
            self._wait_until_ready(clock.monotonic() + timeout_s)
        except BaseException:
            self._end(StopMode.IMMEDIATE, timeout_s=10)
            self._remove_private()
            raise

    def launch(self) -> None:
        """Start the server and return at once: for whoever has more to watch than ``is_ready``."""
        self._private = self._private or ServerDirectory(self._account)
        with (self._private.path / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self._private.path),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                start_new_session=True,  # Ctrl-C is for us to handle: the server is stopped in order
                **self._account.child_identity(),
            )

    def stop(self, mode: StopMode = StopMode.FAST, *, timeout_s: float = 60) -> None:
        """Stop the server. ServerError when it did not end within ``timeout_s`` seconds: it is killed then."""
        if not self._end(mode, timeout_s=timeout_s):
            raise ServerError(
                f"the server in {self.data_directory} did not stop within {timeout_s:g} s and was killed",
                hint="its next start will replay the WAL",
                details=self._log_tail(),
            )

    def restart(self) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start()

    def leave_running(self) -> None:
        """Let the server outlive this object, and this process: it keeps its socket and its log."""
        if self._process is not None:
            self._process.returncode = 0  # it is not waited for: our end makes it init's child
        if self._private is not None:
            self._private.leave()
        self._process = self._private = None

    def close(self) -> None:
        """Stop at any price, and remove the private directory. The data directory stays."""
        self._end(StopMode.FAST, timeout_s=30)
        self._remove_private()

    def _require_private(self) -> Path:
        if self._private is None:
            raise ServerError(f"the cluster in {self.data_directory} was not started")
        return self._private.path

    def _remove_private(self) -> None:
        if self._private is not None:
            self._private.remove()
            self._private = None

    def _command(self, private: Path) -> list[str]:
        settings = {
            "data_directory": str(self.data_directory),  # a postgresql.conf that names its origin's would win over -D
            "listen_addresses": "",
            "unix_socket_directories": str(private),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "hba_file": str(private / "pg_hba.conf"),
            "ssl": "off",
            "logging_collector": "off",
            "log_destination": "stderr",
            "external_pid_file": "",
        }
        if self.binaries.major >= _FIRST_MAJOR_WITH_LOGIN_TRIGGERS:
            settings["event_triggers"] = "off"  # one that writes lets nobody into a server in recovery
        if not (self.data_directory / "postgresql.conf").exists():  # as on Debian, where it lies in /etc
            settings["config_file"] = str(private / "postgresql.conf")
        command = [str(self.binaries.program("postgres")), "-D", str(self.data_directory)]
        for name, value in (settings | self._settings).items():
            command += ["-c", f"{name}={value}"]
        return command

    @property
    def is_ready(self) -> bool:
        """Whether the server takes connections, be they only read-only ones."""
        return self._state in {_READY, _STANDBY}

    @property
    def has_recovered(self) -> bool:
        """Whether a server that is started with ``hot_standby = off`` is in recovery no more, and takes connections.

        A hot standby calls itself ready, too (``sigusr1_handler`` in ``src/backend/postmaster/postmaster.c``).
        """
        return self._state == _READY

    @property
    def _state(self) -> str:
        """What the server says of itself, empty where it says nothing yet."""
        # postmaster.pid: our pid in line 1, the state in line 8 (src/include/utils/pidfile.h), as pg_ctl reads them
        lines = _text(self.data_directory / "postmaster.pid").splitlines()
        is_ours = len(lines) > _STATE_LINE and lines[0] == str(self.pid or "")
        return lines[_STATE_LINE].strip() if is_ours else ""

    def _wait_until_ready(self, deadline: float) -> None:
        while not self.is_ready:
            if not self.is_running:
                raise ServerError(
                    f"the server in {self.data_directory} did not start",
                    hint="the lines above are the end of its log",
                    details=self._log_tail(),
                )
            if clock.monotonic() > deadline:
                raise ServerUnreachableError(
                    f"the server in {self.data_directory} is not ready yet; it was stopped",
                    hint="if it was still recovering, give it more time",
                    details=self._log_tail(),
                )
            clock.sleep(_POLL_S)

    def _end(self, mode: StopMode, *, timeout_s: float) -> bool:
        """End the server; whether it ended in the way that was asked for."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(mode.value)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        finally:
            if process.returncode is not None:
                self._process = None
        return True

    def _log_tail(self) -> tuple[str, ...]:
        return tuple(self.log().splitlines()[-_LOG_TAIL_LINES:])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise ServerError(f"no permission to read {path}", hint=f"run as the account of {os.fspath(path)}") from error
