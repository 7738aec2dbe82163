"""A stack file, a repository and the real command line as a child process: what a user would have and type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from holdfast import clock
from holdfast.cli.backup import snapshot_message
from holdfast.config.load import load_stack
from holdfast.operations.backup import BackupRequest, backup
from holdfast.operations.init import init
from holdfast.operations.wiring import open_stack_repository
from holdfast.progress import Silence
from holdfast.repository.check.options import CheckOptions
from holdfast.repository.check.run import check_repository
from holdfast.repository.identity import render_identity
from holdfast.repository.key_slot import SlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from holdfast.progress import Reporter
    from holdfast.repository.check.report import CheckReport
    from holdfast.repository.manifest import Entry
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot

IDENTITY = render_identity(bytes(range(32)), SlotKind.RECOVERY)
"""Opens a repository at once, where a passphrase takes half a second; the same for all tests."""

TIMEOUT_S = 240


@dataclass(frozen=True)
class Run:
    """What one call of the command line gave."""

    code: int
    stdout: str
    stderr: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON messages of standard output."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    def message(self, message_type: str) -> dict[str, Any]:
        """The only message of a type."""
        (found,) = [message for message in self.messages if message["message_type"] == message_type]
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The error that the run ended with."""
        return self.message("error")

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.stdout}\n{self.stderr}"


@dataclass
class StackDirectory:
    """A directory with a stack file; services and repository options are set before the file is written."""

    directory: Path
    connections: Mapping[str, str]
    repository: dict[str, object] = field(default_factory=dict)
    service: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.write()

    @property
    def place(self) -> Path:
        """Where the repository is."""
        return Path(str(self.repository.get("url", self.directory / "repository")))

    @property
    def config(self) -> Path:
        """The stack file."""
        return self.directory / "holdfast.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of children: theirs is a cache of their own, not the user's."""
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
        }

    def write(self) -> None:
        """Write the stack file."""
        secret = self.directory / "identity"
        secret.write_text(IDENTITY)
        secret.chmod(0o600)
        repository: dict[str, object] = {"url": str(self.place), **self.repository}
        if not {"passphrase", "identity", "unencrypted"} & repository.keys():
            repository["identity"] = {"file": str(secret)}
        services = {name: self._service(name, connection) for name, connection in self.connections.items()}
        content = {"stack": "shop", "repositories": {"main": repository}, "services": services}
        self.config.write_text(yaml.safe_dump(content, allow_unicode=True))

    def _service(self, name: str, connection: str) -> dict[str, Any]:
        """Describe a service, with a spool and a state of its own: the defaults lie on the machine."""
        service: dict[str, Any] = {"kind": "postgres", "connection": connection, **deepcopy(self.service)}
        service["wal"] = {"spool": str(self.directory / "spool" / name), **service.get("wal", {})}
        service["restore"] = {"state": str(self.directory / "state" / name), **service.get("restore", {})}
        return service

    def command(self, *arguments: object) -> list[str]:
        """The command line of a child."""
        return [sys.executable, "-m", "holdfast", "-c", str(self.config), *map(str, arguments)]

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start the command line as a child, in JSON mode."""
        return self._start(self.command("--json", *arguments), environment)

    def run_with_mounts(self, script: str, operands: Sequence[object], *arguments: object) -> Run:
        """Run the command line in JSON mode by a shell, in a mount namespace of its own.

        ``operands`` are ``$0`` and on for ``script``; the command line is what follows them.
        """
        namespace = ["unshare", "-m", *([] if os.geteuid() == 0 else ["-Ur"])]
        shell = ["sh", "-c", script, *map(str, operands)]
        return finish(self._start([*namespace, *shell, *self.command("--json", *arguments)], {}))

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, **environment},
        )

    def run(self, *arguments: object, **environment: str) -> Run:
        """Run the command line in JSON mode; whatever its exit code, no traceback may show."""
        return finish(self.start(*arguments, **environment))

    def succeed(self, *arguments: object, **environment: str) -> Run:
        """Run the command line; it must end with 0."""
        run = self.run(*arguments, **environment)
        assert run.code == 0, str(run)
        return run

    def make_repository(self) -> None:
        """Make the repository, in this process: most tests want one, and the command has tests of its own."""
        with self.cache_of_children():
            init(load_stack(self.config), None, unencrypted="unencrypted" in self.repository)

    def backup(self, service: str = "db", *options: str) -> dict[str, Any]:
        """Back a service up; return the snapshot's message; without options in this process: half the work."""
        if options:
            return self.succeed("backup", service, *options).message("snapshot_made")
        snapshot = self.back_up_here(Silence(), service)
        assert snapshot.is_complete, snapshot.warnings
        assert snapshot.is_clean, snapshot.warnings
        return json.loads(json.dumps(snapshot_message(snapshot)))  # as who reads the message has it

    def snapshots(self) -> list[dict[str, Any]]:
        """Return what the command line lists."""
        return self.succeed("snapshots").messages

    def open(self) -> Repository:
        """Open the repository in this process, with the cache of the children."""
        with self.cache_of_children():
            return open_stack_repository(load_stack(self.config))

    def back_up_here(self, reporter: Reporter, service: str = "db") -> Snapshot:
        """Back a service up in this process, so that a reporter can interfere at a known moment."""
        with self.cache_of_children():
            return backup(load_stack(self.config), BackupRequest(service), reporter)

    @contextmanager
    def cache_of_children(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", self.environment["XDG_CACHE_HOME"])
            yield

    def check(self) -> CheckReport:
        """Open and authenticate everything in the repository; it must be clean."""
        report = check_repository(self.open(), CheckOptions(read_data_percent=100), Silence())
        assert report.is_clean, report.damages
        return report

    def entries(self, snapshot_id: str) -> dict[bytes, Entry]:
        """Return the entries of a snapshot by path."""
        repository = self.open()
        (snapshot,) = [each for each in repository.snapshots() if each.id == snapshot_id]
        return {entry.path: entry for entry in repository.entries(repository.reader(), snapshot)}

    def packs(self) -> dict[str, int]:
        """Return the stored packs of data with their sizes."""
        return {
            str(path.relative_to(self.place)): path.stat().st_size
            for path in (self.place / "packs" / "data").rglob("*")
            if path.is_file() and "~" not in path.name
        }


class At(Silence):
    """A Reporter that does something when a phase begins: the backup waits for it."""

    def __init__(self, phase: str, act: Callable[[], object]) -> None:
        self._phase, self._act = phase, act
        self.has_acted = False
        self.warnings: list[str] = []
        self.notices: list[str] = []

    def phase(self, name: str, *, total_bytes: int | None = None) -> None:
        """Act, once."""
        if name == self._phase and not self.has_acted:
            self.has_acted = True
            self._act()

    def warning(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)

    def notice(self, text: str) -> None:
        """Keep it."""
        self.notices.append(text)


def finish(child: subprocess.Popen[str]) -> Run:
    """Wait for a child; kill it, by its own id, when it hangs."""
    try:
        stdout, stderr = child.communicate(timeout=TIMEOUT_S)
    except BaseException:
        child.kill()
        child.communicate()
        raise
    run = Run(child.returncode, stdout, stderr)
    assert "Traceback" not in stdout + stderr, str(run)
    assert "internal error" not in stdout + stderr, str(run)
    return run


def kill(child: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> Run:
    """Send a signal to a child and wait for its end."""
    child.send_signal(number)
    return finish(child)


def wait_until(condition, *, timeout_s: float = 90) -> None:
    """Wait for something to become true."""
    deadline = clock.monotonic() + timeout_s
    while not condition():
        assert clock.monotonic() < deadline, "waited in vain"
        clock.sleep(0.02)
