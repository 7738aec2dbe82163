"""``holdfast journal``: who did what to which service in place, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import service_names
from holdfast.cli.invocation import Invocation
from holdfast.cli.output import Column

if TYPE_CHECKING:
    from holdfast.repository.journal import JournalEntry


def journal(
    ctx: typer.Context,
    service: str = typer.Argument("", help="Only what was done to this service.", autocompletion=service_names),
) -> None:
    """List the restores in place, undos and dropped checkpoints of the stack, oldest first."""
    from holdfast.operations.journal import list_journal

    run = Invocation.of(ctx)
    entries = list_journal(run.stack(), run.repository, service or None)
    run.output.table("journal_entry", entries, _columns(), _message)


def _message(entry: JournalEntry) -> dict[str, object]:
    from msgspec.structs import asdict

    return asdict(entry)


def _columns() -> list[Column[JournalEntry]]:
    return [
        Column("id", lambda entry: entry.id[:8]),
        Column("begun", lambda entry: text.local(entry.begun)),
        Column("service", lambda entry: entry.service),
        Column("action", lambda entry: entry.action),
        Column("who", lambda entry: f"{entry.who} on {entry.host}"),
        Column("became", lambda entry: entry.became),
        Column("result", lambda entry: entry.result if entry.ended else "CUT OFF"),
        Column("outage", lambda entry: "" if entry.outage_s is None else text.duration(entry.outage_s), is_number=True),
    ]
