"""What a command loads before it begins: nothing that it has no use for. A time tells it on a quiet machine only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.operations import backup, restore_delta

NEVER = {"pydantic", "rich", "click", "jsonschema", "hypothesis", "obstore"}
BACKUPS_OWN = {"holdfast.repository.paged_file", "holdfast.repository.intake", "holdfast.repository.sources"}
START = ("holdfast.cli.main", "holdfast.config.load", "holdfast.operations.wiring")


def loaded(*modules: str) -> set[str]:
    """Return the names of all modules, and of their packages, that an interpreter has after loading some."""
    program = f"import sys; import {', '.join(modules)}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    return {part for name in told.split() for part in (name, name.partition(".")[0])}


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ((), {"numpy", "psycopg", "asyncio", "fastcdc", "json"}),
        (("holdfast.operations.restore_delta", *restore_delta._NEEDS), {"psycopg", "asyncio", *BACKUPS_OWN}),
        (("holdfast.operations.backup", *backup._NEEDS["data_directory"]), set()),
        (("holdfast.operations.status",), {"fastcdc"}),
    ],
    ids=["any command", "restore --delta", "backup", "status"],
)
def test_a_command_loads_only_what_it_uses(modules: tuple[str, ...], unwanted: set[str]):
    found = loaded(*START, *modules)
    assert set(START) <= found
    assert found & (NEVER | unwanted) == set()
