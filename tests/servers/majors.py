"""On which versions of PostgreSQL a test runs: what a version changes is tested on each; what it can hardly change is
tested on the oldest and the newest of ours by ``make test``, and on the one between them by ``make test-slow``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.servers.postgres import MAJORS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def on_majors(*ordinary: int) -> pytest.MarkDecorator:
    """Run a test that takes ``binaries`` on these versions; on the others as a slow one."""
    cases = [pytest.param(major, id=f"postgres-{major}", marks=_marks(major in ordinary)) for major in MAJORS]
    return pytest.mark.parametrize("binaries", cases, indirect=True)


def in_pairs(name: str, values: Sequence[str]) -> pytest.MarkDecorator:
    """Run a test that takes ``binaries`` and ``name`` with each version and each value; as slow ones with all pairs."""
    ordinary = {(major, values[number % len(values)]) for number, major in enumerate(MAJORS)}
    pairs = [(major, value) for major in MAJORS for value in values]
    cases = [pytest.param(*pair, id=f"postgres-{pair[0]}-{pair[1]}", marks=_marks(pair in ordinary)) for pair in pairs]
    return pytest.mark.parametrize(("binaries", name), cases, indirect=["binaries"])


def _marks(is_ordinary: bool) -> Collection[pytest.MarkDecorator]:
    return () if is_ordinary else (pytest.mark.slow,)
