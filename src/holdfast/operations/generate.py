"""Ask the running server what it is, and write a stack file that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.draft import Draft, render
from holdfast.config.load import parse_stack
from holdfast.errors import ServerError
from holdfast.operations.wal.setup import push_settings, setting_lines
from holdfast.operations.wiring import connection_string
from holdfast.postgres.server import Server

if TYPE_CHECKING:
    from holdfast.postgres.facts import ServerFacts


def generate(draft: Draft) -> str:
    """Return the text of a commented stack file.

    The draft is checked as a stack file is before the server is asked, so that a password in the connection is
    refused unused. Raises ConfigError, ServerUnreachableError, ServerError.
    """
    stack = parse_stack(Path("holdfast.yaml"), render(draft, ()))
    with Server.connect(connection_string(stack.services["db"])) as server:
        _require_privileges(server)
        facts = server.probe()
    return render(draft, _remarks(facts), setting_lines(push_settings(stack, "db")))


def _require_privileges(server: Server) -> None:
    if missing := server.missing_privileges():
        raise ServerError(
            "the role of the connection lacks privileges that a backup needs",
            details=missing,
            hint="run these statements as a superuser, in the database that the connection names, then try again",
        )


def _remarks(facts: ServerFacts) -> list[str]:
    known_bytes = sum(database.size_bytes or 0 for database in facts.databases)
    role = "a standby" if facts.is_standby else "a primary"
    remarks = [
        f"PostgreSQL {facts.version}, {role}, system identifier {facts.system_identifier},",
        f"data directory {facts.data_directory}, about {known_bytes / 1024**2:,.0f} MiB,",
        f"databases: {len(facts.databases)}, tablespaces of its own: {len(facts.tablespaces)}.",
    ]
    if not facts.has_data_checksums:
        remarks.append("Page checksums are off: damage on the server's disks cannot be noticed while reading.")
    return remarks
