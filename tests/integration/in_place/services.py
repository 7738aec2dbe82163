"""A service in place: a real cluster that the stack file's own commands stop and start, and what it is judged by."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from jsonschema import Draft202012Validator
from tests.integration.backup_restore.stack import Run, StackDirectory
from tests.servers.installation import holdfast_directory
from tests.servers.postgres import account, make_new_cluster, postgres_binaries

from holdfast import clock
from holdfast.postgres.account import Account
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.ping import is_taking_connections

if TYPE_CHECKING:
    from holdfast.postgres.binaries import Binaries

_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{socket}'
port = 5432
logging_collector = off
autovacuum = off
"""


SCHEMAS = Path(__file__).parents[3] / "docs" / "reference" / "json"


class InstalledStack(StackDirectory):
    """A stack whose command line is one that the server's account can run, too: its archive_command does.

    Each message of a run is held against its published schema.
    """

    def run(self, *arguments: object, **environment: str) -> Run:
        """Run the command line."""
        run = super().run(*arguments, **environment)
        for message in run.messages:
            schema = json.loads((SCHEMAS / f"{message['message_type']}.json").read_text())
            Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(message)
        return run

    def command(self, *arguments: object) -> list[str]:
        """The command line of a child."""
        return [str(holdfast_directory() / "python"), "-m", "holdfast", "-c", str(self.config), *map(str, arguments)]


@dataclass
class Service:
    """A cluster with its data directory in ``place``, and a stack that knows how to restore it there."""

    place: Path
    binaries: Binaries
    stack: StackDirectory

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.place / "data"

    @property
    def conninfo(self) -> str:
        """How the server is reached."""
        return f"host={self.place / 'socket'} port=5432 user=postgres dbname=postgres"

    @property
    def state(self) -> Path:
        """Where Holdfast keeps its records of the service."""
        return self.stack.directory / "state"

    def pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call pg_ctl as the owner of the cluster."""
        command = [str(self.binaries.program("pg_ctl")), "-D", str(self.data), "-w", *arguments]
        with (self.place / "pg_ctl.out").open("wb") as output:
            return subprocess.run(
                command, stdout=output, stderr=output, check=False, cwd="/", **owner().child_identity()
            )

    def start(self) -> None:
        """Start the server."""
        answer = self.pg_ctl("-l", str(self.place / "log"), "start")
        assert answer.returncode == 0, (self.place / "pg_ctl.out").read_text() + (self.place / "log").read_text()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, if it runs."""
        if (self.data / "postmaster.pid").exists():
            self.pg_ctl("-m", mode, "stop")

    @property
    def is_up(self) -> bool:
        """Whether the server takes connections."""
        return is_taking_connections(self.conninfo)

    def sql(self, *statements: str, dbname: str = "postgres") -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.conninfo, dbname=dbname, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str, dbname: str = "postgres"):
        """Return the one value of a query."""
        with psycopg.connect(self.conninfo, dbname=dbname, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

    @property
    def checkpoints(self) -> list[Path]:
        """The data directories that are kept as checkpoints, by name."""
        return sorted(self.place.glob("data.holdfast-checkpoint-*"))

    @property
    def leftovers(self) -> list[Path]:
        """What is staged, and not in service."""
        return sorted(self.place.glob("data.holdfast-staging-*"))

    @property
    def timeline(self) -> int:
        """The timeline that the server writes."""
        return int(self.ask("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"), 16)


def owner() -> Account:
    """Return the account that owns clusters."""
    return account()


def make_service(place: Path, stack_directory: Path, major: int = 15, **restore: object) -> Service:
    """Make a cluster, start it, and write a stack file for it; ``restore`` are keys of the service's ``restore``."""
    binaries = postgres_binaries(major)
    (place / "socket").mkdir()
    owner().take_over(place / "socket")
    make_new_cluster(binaries, place / "data")
    with (place / "data" / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION.format(socket=place / "socket"))
    server = {"pg_ctl": {"log": str(place / "log")}}
    options = {"server": server, "state": str(stack_directory / "state"), "amcheck": False, **restore}
    stack = InstalledStack(
        stack_directory,
        {"db": f"host={place / 'socket'} port=5432 user=postgres dbname=postgres"},
        {"url": str(place / "repository")},
        {
            "binaries": str(binaries.directory),
            "data_directory": str(place / "data"),
            "restore": options,
            "wal": {"spool": str(place / "spool")},
        },
    )
    service = Service(place, binaries, stack)
    service.start()
    stack.make_repository()
    return service


def archive(service: Service, command: str | None = None) -> None:
    """Let the server archive its WAL into the repository, as an operator would set it up; or by another command."""
    for path in (service.place / "repository", *(service.place / "repository").rglob("*")):
        owner().take_over(path)
    ours = service.stack.succeed("wal", "setup", "db").message("wal_set_up")["settings"]["archive_command"]
    add_settings(service.data / "postgresql.conf", {"archive_mode": "on", "archive_command": command or ours})
    service.stop()
    service.start()


def archived(service: Service) -> set[str]:
    """Return the names of what is archived."""
    return {path.name for path in (service.place / "repository" / "wal").rglob("*") if path.is_file()}


def wait_for_end(service: Service) -> None:
    """Wait until the server is gone."""
    deadline = clock.monotonic() + 90
    while service.is_up:
        assert clock.monotonic() < deadline
        clock.sleep(0.05)
