"""Fixtures of the receiver's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.wal_receive.receiving import Receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster


@pytest.fixture
def make_receiving(tmp_path: Path) -> Iterator[Callable[..., Receiving]]:
    """Make stacks whose WAL is received: ``make_receiving(cluster)``; receivers are ended after the test."""
    made = []

    def make(cluster: LocalCluster, connection: str | None = None, **wal: object) -> Receiving:
        number = len(made)
        spool = tmp_path / f"spool-{number}"
        service = {"wal": {"spool": str(spool), **wal}}
        stack = StackDirectory(tmp_path / f"stack-{number}", {"db": connection or cluster.conninfo()}, service=service)
        stack.make_repository()
        made.append(Receiving(stack, spool))
        return made[-1]

    yield make
    for receiving in made:
        receiving.close()
