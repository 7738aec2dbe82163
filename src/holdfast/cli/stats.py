"""``holdfast stats``: what the backups hold, and what they cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.cli.output import Column

if TYPE_CHECKING:
    from holdfast.operations.stats import RepositoryStats
    from holdfast.repository.usage import Usage

Row = tuple[str, "Usage"]


def stats(ctx: typer.Context) -> None:
    """Measure what a repository holds and what it costs: by service, in total, and by deduplication and compression."""
    from holdfast.operations.stats import measure

    run = Invocation.of(ctx)
    measured = measure(run.stack(), run.repository)
    rows = list(measured.services.items())
    if not run.json:
        rows.append(("total", measured.total))  # for programs it is a message of its own
    run.output.table("service_stats", rows, _columns(), _service_message)
    run.output.emit("stats", _message(measured), lambda: _words(measured))


def _service_message(row: Row) -> dict[str, object]:
    name, usage = row
    stack, _, service = name.partition("/")
    return {"stack": stack, "service": service, **_numbers(usage)}


def _numbers(usage: Usage) -> dict[str, object]:
    ratios = {name: getattr(usage, name) for name in ("dedup_ratio", "compression_ratio", "total_ratio")}
    return {**asdict(usage), **ratios}


def _message(measured: RepositoryStats) -> dict[str, object]:
    return {
        **_numbers(measured.total),
        "packs": measured.packs,
        "pack_bytes": measured.pack_bytes,
        "unreferenced_bytes": measured.unreferenced_bytes,
        "indexed_chunks": measured.chunks,
        "index_memory_bytes": measured.index_memory_bytes,
    }


def _words(measured: RepositoryStats) -> str:
    packs = f"{text.count(measured.packs, 'pack')} ({text.size(measured.pack_bytes)})"
    chunks = f"{text.count(measured.chunks, 'chunk')}, whose index takes {text.size(measured.index_memory_bytes)}"
    return (
        f"{packs} hold {chunks} of memory\n"
        f"{text.size(measured.unreferenced_bytes)} of the packs is what no snapshot refers to"
    )


def _columns() -> list[Column[Row]]:
    return [
        Column("service", lambda row: row[0]),
        Column("snapshots", lambda row: f"{row[1].snapshots:,}", is_number=True),
        Column("logical", lambda row: text.size(row[1].logical_bytes), is_number=True),
        Column("unique", lambda row: text.size(row[1].unique_bytes), is_number=True),
        Column("stored", lambda row: text.size(row[1].stored_bytes), is_number=True),
        Column("dedup", lambda row: f"{row[1].dedup_ratio:.2f}x", is_number=True),
        Column("compression", lambda row: f"{row[1].compression_ratio:.2f}x", is_number=True),
        Column("together", lambda row: f"{row[1].total_ratio:.2f}x", is_number=True),
    ]
