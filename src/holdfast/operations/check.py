"""Examine a repository; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.operations.wiring import open_stack_repository
from holdfast.services.postgres.facts import from_facts

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.repository.check.options import CheckOptions
    from holdfast.repository.check.report import CheckReport
    from holdfast.repository.snapshot import Snapshot


def check(stack: Stack, asked: str | None, options: CheckOptions, reporter: Reporter) -> CheckReport:
    """Check a repository to the depth that the options say; damage is in the report."""
    repository = open_stack_repository(stack, asked, needs=("holdfast.repository.check.run",))
    from holdfast.repository.check.run import check_repository

    return check_repository(repository, options, reporter, _require_facts)


def _require_facts(snapshot: Snapshot) -> None:
    """Raise DamageError where the facts that a restore plans from cannot be read."""
    if snapshot.kind == "postgres":
        from_facts(snapshot.facts, snapshot.object_name)
