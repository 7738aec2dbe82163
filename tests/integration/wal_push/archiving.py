"""One cluster that archives through Holdfast, as an operator would set it up, and what its archive is judged by."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import validate
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.servers.installation import holdfast_directory
from tests.servers.postgres import account

from holdfast.postgres.initdb import add_settings
from holdfast.wal.archive import WalArchive
from holdfast.wal.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.local import LocalCluster
    from holdfast.wal.settings import WalSettings

TIMEOUT_S = 120
SCHEMAS = Path(__file__).parents[3] / "docs" / "reference" / "json"


def require_schema(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message that is as its schema says."""
    validate(message, json.loads((SCHEMAS / f"{message['message_type']}.json").read_text()))
    return message


class InstalledStack(StackDirectory):
    """A stack whose command line is one that the server's account can run, too."""

    def command(self, *arguments: object) -> list[str]:
        """The command line of a child."""
        return [str(holdfast_directory() / "python"), "-m", "holdfast", "-c", str(self.config), *map(str, arguments)]


@dataclass
class Archiving:
    """A running cluster, its stack, and the spool between them. ``wal`` is the service's ``wal:`` section.

    ``remote`` is the repository's section where it is not a directory.
    """

    cluster: LocalCluster
    directory: Path
    wal: dict[str, object] = field(default_factory=dict)
    remote: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spool = self.directory / "spool"
        self.repository = self.directory / "repository"
        service = {"wal": {"spool": str(self.spool), **self.wal}}
        self.stack = InstalledStack(
            self.directory / "stack",
            {"db": self.cluster.conninfo()},
            self.remote or {"url": str(self.repository)},
            service,
        )
        self.stack.make_repository()
        self.give_repository()

    def give_repository(self) -> None:
        """Make the repository the account's, which pushes into it."""
        for root, directories, files in os.walk(self.repository):
            for name in (root, *(os.path.join(root, each) for each in directories + files)):
                account().take_over(Path(name))

    def set_up(self) -> None:
        """Run ``wal setup``, and give the server what it prints."""
        message = require_schema(self.stack.succeed("wal", "setup", "db").message("wal_set_up"))
        self.archive_by(message["settings"]["archive_command"])

    def archive_by(self, command: str) -> None:
        """Let the server archive by this command from now on: when this returns, nothing more is begun by another."""
        add_settings(self.cluster.data_directory / "postgresql.conf", {"archive_command": command})
        sql(self.cluster, "SELECT pg_reload_conf()")
        wait_until(lambda: ask(self.cluster, "SHOW archive_command") == command, timeout_s=TIMEOUT_S)

    @property
    def wal_directory(self) -> Path:
        """The cluster's pg_wal."""
        return self.cluster.data_directory / "pg_wal"

    @property
    def settings(self) -> WalSettings:
        """What was compiled."""
        return read_settings(str(self.spool / "settings"))

    def archive(self) -> WalArchive:
        """The archive, with the owner's keys."""
        repository = self.stack.open()
        return WalArchive(repository.storage, repository.keys, self.settings.system_identifier)

    def archived(self) -> set[str]:
        """The names in the archive."""
        return {each.name for each in self.archive().list()}

    def status(self, suffix: str) -> set[str]:
        """The files that the server wants archived (``.ready``) or that were (``.done``)."""
        names = os.listdir(self.wal_directory / "archive_status")
        return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}

    def write(self, segments: int = 1) -> list[str]:
        """Commit some rows, and complete segments; return their names."""
        names = []
        for _ in range(segments):
            sql(
                self.cluster,
                "CREATE TABLE IF NOT EXISTS item (id bigint, name text)",
                "INSERT INTO item SELECT i, md5(i::text) FROM generate_series(1, 2000) AS i",
            )
            names.append(ask(self.cluster, "SELECT pg_walfile_name(pg_switch_wal())"))
        return names

    def wait_archived(self, names: list[str]) -> None:
        """Wait until the server takes these files for archived; then they must be, and rightly so."""
        wait_until(lambda: self.status(".done") >= set(names), timeout_s=TIMEOUT_S)
        self.require_truthful()

    def wait_failed(self, more: int = 1) -> None:
        """Wait for this many more failures of archive_command."""
        count = "SELECT failed_count FROM pg_stat_archiver"
        before = ask(self.cluster, count)
        wait_until(lambda: ask(self.cluster, count) >= before + more, timeout_s=TIMEOUT_S)

    def require_truthful(self) -> None:
        """Whatever the server believes to be archived is in the archive, byte for byte."""
        archive = self.archive()
        for name in self.status(".done"):
            path = self.wal_directory / name
            if path.exists():
                assert bytes(archive.get(name)) == path.read_bytes(), name

    def require_alive(self) -> None:
        """The server takes writes."""
        sql(self.cluster, "CREATE TABLE IF NOT EXISTS alive (at timestamptz)", "INSERT INTO alive VALUES (now())")

    def push(self, path: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Push one file as the account of the server, by the short way."""
        return self.run("wal", "push", "db", str(path), "--settings", str(self.spool / "settings"), **environment)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as the account of the server, in its data directory."""
        return self._run([str(holdfast_directory() / "holdfast"), *arguments], environment)

    def ask_script(self, name: str) -> subprocess.CompletedProcess[str]:
        """Call what archive_command calls."""
        return self._run([str(self.spool / "archive"), f"pg_wal/{name}", name], {})

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=self.cluster.data_directory,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment},
            **account().child_identity(),
        )

    @contextmanager
    def serving(self, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Serve as the account of the server; it is ended whatever happens."""
        settings = str(self.spool / "settings")
        with (self.directory / "serve.log").open("a") as log:
            process = subprocess.Popen(
                [str(holdfast_directory() / "holdfast"), "wal", "serve", "db", "--settings", settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                text=True,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment},
                **account().child_identity(),
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(TIMEOUT_S)
            finally:
                process.kill()
                process.wait()

    def serve_log(self) -> list[str]:
        """What the resident process said."""
        return (self.directory / "serve.log").read_text().splitlines()

    def resident(self) -> str:
        """What the resident process says of itself; empty where there is none."""
        path = self.spool / "serve.pid"
        return path.read_text() if path.exists() else ""

    def wait_shipping(self, process: subprocess.Popen[str]) -> None:
        """Wait until this very process says that it is worth waiting for."""
        wait_until(lambda: self.resident().split()[::2] == [str(process.pid), "shipping"])

    def is_acknowledged(self, name: str) -> bool:
        """Whether the spool holds an acknowledgement for the file as it is in pg_wal."""
        path = self.spool / "ack" / self.settings.repository_id / name
        return path.exists() and path.stat().st_mtime_ns == (self.wal_directory / name).stat().st_mtime_ns

    def salvaged(self, name: str) -> Path:
        """Return a copy of a segment in a directory that is no cluster's, which may be pushed under its name."""
        place = self.directory / "salvaged"
        place.mkdir(exist_ok=True)
        copy = Path(shutil.copy(self.wal_directory / name, place / name))
        account().take_over(copy)
        return copy
