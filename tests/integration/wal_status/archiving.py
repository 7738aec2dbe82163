"""Servers that archive into a directory of their own, whose files the tests push when it suits them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until

from holdfast.operations.wal.push import push as push_file
from holdfast.wal.archive import WalArchive
from holdfast.wal.settings import SETTINGS_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.servers.postgres import ClusterFactory

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.local import LocalCluster

SCHEMAS = Path(__file__).parents[3] / "docs/reference/json"
SEGMENT_SIZE = 1 << 20
OUTBOX = "outbox/wal"
# archive_command runs in the data directory: a standby that is a copy has an outbox of its own. Its depth makes what is
# pushed from there look like salvaged files: where they lie says nothing of whose they are.
SETTINGS = {
    "autovacuum": "off",
    "archive_mode": "always",
    "archive_command": f"mkdir -p {OUTBOX} && cp %p {OUTBOX}/%f.new && mv {OUTBOX}/%f.new {OUTBOX}/%f",
}
NOTHING_WAITS = "SELECT NOT EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')"


def make_origin(factory: ClusterFactory, binaries: Binaries) -> LocalCluster:
    """Make a server with small segments that archives into its outbox."""
    cluster = factory(binaries, "origin", settings=SETTINGS, wal_segment_size_bytes=SEGMENT_SIZE)
    sql(cluster, "CREATE TABLE entry (n int PRIMARY KEY)")
    return cluster


def make_archiving_stack(directory: Path, cluster: LocalCluster) -> StackDirectory:
    """Make a repository for a server, and set its archiving up."""
    stack = StackDirectory(
        directory / "stack", {"db": cluster.conninfo()}, service={"wal": {"spool": str(directory / "spool")}}
    )
    stack.make_repository()
    stack.succeed("wal", "setup", "db")
    return stack


def write_segments(cluster: LocalCluster, *numbers: int) -> None:
    """Write one row and finish the segment, for each number; wait until all of it was archived somewhere."""
    for number in numbers:
        sql(cluster, f"INSERT INTO entry VALUES ({number})", "SELECT pg_switch_wal()")
    wait_until(lambda: ask(cluster, NOTHING_WAITS))


def set_archive_command(cluster, command: str) -> None:
    """Let a server archive in another way from now on."""
    sql(cluster, f"ALTER SYSTEM SET archive_command = '{command}'", "SELECT pg_reload_conf()")
    wait_until(lambda: ask(cluster, "SHOW archive_command") == command)


def wait_until_archiving_fails(cluster: LocalCluster) -> None:
    """Wait until a server has tried to archive, in vain, and says so."""
    has_failed = "SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver"
    wait_until(lambda: ask(cluster, has_failed))


def outbox(cluster: LocalCluster) -> list[Path]:
    """Return what a server has archived, in order."""
    return sorted((cluster.data_directory / OUTBOX).glob("0*[!w]"))


def push(stack: StackDirectory, paths: Iterable[Path]) -> None:
    """Push files as archive_command would, but for the start of a process for each."""
    for path in paths:
        push_file("db", str(path), str(Path(str(stack.service["wal"]["spool"])) / SETTINGS_NAME))


def open_archive(stack: StackDirectory, identifier: str) -> WalArchive:
    """Open the archive in this process."""
    repository = stack.open()
    return WalArchive(repository.storage, repository.keys, identifier)


def look(stack: StackDirectory, code: int = 0) -> dict[str, Any]:
    """Return the message of ``wal status``, which must end with a code."""
    run = stack.run("wal", "status", "db")
    assert run.code == code, str(run)
    message = run.message("wal_status")
    require_schema(message)
    return message


def require_schema(message: dict[str, Any]) -> None:
    """Hold a message against its published schema."""
    schema = json.loads((SCHEMAS / f"{message['message_type']}.json").read_text())
    Draft202012Validator(schema).validate(message)


def kinds(message: dict[str, Any]) -> list[str]:
    """Return what the alerts are about."""
    return [alert["kind"] for alert in message["alerts"]]
