"""Compare two snapshots of one repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.operations.snapshots import find_snapshot
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.compare import Difference, compare_snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack


def diff(stack: Stack, asked: str | None, before: str, after: str) -> Iterator[Difference]:
    """Yield what differs between two snapshots, by path; both are found before the first comes."""
    repository = open_stack_repository(stack, asked)
    old, new = find_snapshot(repository, before), find_snapshot(repository, after)
    return compare_snapshots(repository.reader(), old, new)
