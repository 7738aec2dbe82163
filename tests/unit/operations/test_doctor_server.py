"""A data directory that may not be read whole is found before a backup meets it, also when the tests run as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.cli.calling import without_privileges

CODE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from holdfast.errors import ServerError
from holdfast.operations.doctor import server
spaces = [SimpleNamespace(location=location) for location in sys.argv[2:]]
try:
    server.require_readable(Path(sys.argv[1]), SimpleNamespace(tablespaces=spaces))
    print(json.dumps(None))
except ServerError as error:
    print(json.dumps(error.message))
"""


def complaint(root: Path, *tablespaces: str) -> str | None:
    command = without_privileges([sys.executable, "-c", CODE, str(root), *tablespaces])
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "base").mkdir(parents=True)
    (tmp_path / "root" / "PG_VERSION").write_text("15\n")
    (tmp_path / "root" / "dangling").symlink_to("nowhere")
    return tmp_path / "root"


def test_what_can_be_read(root: Path):
    (root / "space").mkdir()
    assert complaint(root, "space", str(root / "base")) is None


@pytest.mark.parametrize(("name", "mode"), [("PG_VERSION", 0o200), ("base", 0o600), (".", 0o311)])
def test_what_may_not_be_read_is_named(root: Path, name: str, mode: int):
    os.chmod(root / name, mode)
    try:
        assert complaint(root) == f"no permission to read {root / name}"
    finally:
        os.chmod(root / name, 0o755)


def test_a_tablespace_that_is_not_there(root: Path):
    assert complaint(root, "/nowhere/space") == "cannot read /nowhere/space: no such file or directory"
