"""Listing starts quickly: nothing is imported that only backups and restores need, and what was seen is cached."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from tests.integration.backup_restore.stack import StackDirectory

from holdfast.model import new_object_id
from holdfast.repository.snapshot import encode_snapshot

HEAVY = {"numpy", "psycopg", "pydantic", "rich", "obstore", "fastcdc", "jsonschema", "click", "hypothesis"}
LISTED = 1000


def imported(stack: StackDirectory, *arguments: str) -> set[str]:
    """Return the names of all packages that a command imports (python -X importtime)."""
    command = [sys.executable, "-X", "importtime", "-m", "holdfast", "-c", str(stack.config), *arguments]
    child = subprocess.run(command, capture_output=True, text=True, env=stack.environment, check=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in child.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("arguments", [["snapshots"], ["snapshots", "--json"], ["show"], ["key", "list"]], ids=" ".join)
def test_looking_at_small_objects_imports_little(shop, arguments: list[str]):
    found = imported(shop.stack, *arguments)
    assert "msgspec" in found
    assert found & HEAVY == set()


def test_looking_into_a_snapshot_does_not_import_the_adapters(shop):
    found = imported(shop.stack, "ls", "latest")
    assert found & HEAVY == {"numpy"}


@pytest.fixture(scope="module")
def long_stack(shop, tmp_path_factory) -> StackDirectory:
    """A repository with 1,000 snapshots, which differ in id and time only."""
    stack = StackDirectory(tmp_path_factory.mktemp("long") / "stack", {})
    stack.succeed("init")
    repository, sample = stack.open(), shop.stack.open().snapshots()[0]
    for number in range(LISTED):
        started = f"2026-01-01T{number // 60:02}:{number % 60:02}:00+00:00"
        snapshot = msgspec.structs.replace(sample, id=new_object_id(), started=started)
        repository.storage.put(snapshot.object_name, encode_snapshot(repository.keys, snapshot))
    assert len(stack.snapshots()) == LISTED  # fills the cache
    return stack


def test_a_cache_that_is_gone_or_wrong_is_made_anew(long_stack):
    cached = [path for path in (long_stack.directory / "cache").rglob("snapshots/*") if path.is_file()]
    assert len(cached) == LISTED
    before = [path.read_bytes() for path in cached[:2]]
    cached[0].write_bytes(b"torn")
    cached[1].unlink()
    assert len(long_stack.snapshots()) == LISTED
    assert [path.read_bytes() for path in cached[:2]] == before
