"""Setting archiving up leaves bytecode for the server's account, which cannot write it itself."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SET_UP = "from holdfast.operations.wal.setup import keep_bytecode; keep_bytecode()"
PUSH = "from holdfast.cli.entry import run; run()"
_SAYING_WHY = ("entry.", "output.", "text.")
"""What a push that fails needs beside, to say so."""


def run(cache: Path, program: str, *arguments: str) -> None:
    command = [sys.executable, "-I", "-X", f"pycache_prefix={cache}", "-c", program, *arguments]
    subprocess.run(command, capture_output=True, cwd="/", check=False)


def kept(cache: Path) -> set[str]:
    return {name for _, _, names in os.walk(cache) for name in names}


def test_a_push_finds_everything_compiled(tmp_path):
    run(tmp_path, SET_UP)
    before = kept(tmp_path)
    assert any(name.startswith("early.") for name in before)
    run(tmp_path, PUSH, "wal", "push", "db", "/nowhere/wal", "--settings", "/nowhere/settings")
    assert {name for name in kept(tmp_path) - before if not name.startswith(_SAYING_WHY)} == set()
