"""Measure what a repository holds and what it costs, by service and in total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.operations.wiring import open_stack_repository

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.repository.snapshot import Snapshot
    from holdfast.repository.usage import Usage


@dataclass(frozen=True)
class RepositoryStats:
    """Usage by "stack/service", and of all; packs and chunks that are there, also those that nothing refers to."""

    services: dict[str, Usage]
    total: Usage
    packs: int
    pack_bytes: int
    chunks: int
    index_memory_bytes: int

    @property
    def unreferenced_bytes(self) -> int:
        """Stored bytes that no snapshot refers to: of interrupted runs, twice stored, headers and trailers."""
        return self.pack_bytes - self.total.stored_bytes


def measure(stack: Stack, asked: str | None) -> RepositoryStats:
    """Read all lists of files of a repository, and add up."""
    repository = open_stack_repository(stack, asked, needs=("holdfast.repository.usage", "holdfast.repository.salvage"))
    from holdfast.repository.usage import measure_usage

    groups: dict[str, list[Snapshot]] = {}
    for snapshot in repository.snapshots():
        groups.setdefault(f"{snapshot.stack}/{snapshot.service}", []).append(snapshot)
    reader = repository.reader()
    services, total = measure_usage(reader, groups)
    packs = {pack.ref: pack.length for pack in reader.index.packs}
    return RepositoryStats(
        services=services,
        total=total,
        packs=len(packs),
        pack_bytes=sum(packs.values()),
        chunks=len(reader.index),
        index_memory_bytes=reader.index.memory_bytes,
    )
