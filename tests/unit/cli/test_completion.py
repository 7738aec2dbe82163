"""Tab offers commands and names, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STACK = """
stack: shop
repositories:
  main: {url: /srv/one, unencrypted: true}
  mirror: {url: /srv/two, unencrypted: true}
  offsite: {url: /srv/three, unencrypted: true}
"""


def complete(line: str, directory) -> list[str]:
    """Return what bash would offer for the last word of a line."""
    position = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_HOLDFAST_COMPLETE": "complete_bash"}
    environment = {**os.environ, **position}
    environment.pop("HOLDFAST_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-m", "holdfast"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("holdfast conf", ["config"]),
        ("holdfast config s", ["show", "schema"]),
        ("holdfast config show --js", ["--json"]),
        ("holdfast config show -r m", ["main", "mirror"]),
        ("holdfast -r off", ["offsite"]),
        ("holdfast -c missing.yaml config show -r m", []),
    ],
)
def test_completion(line: str, offered: list[str], tmp_path):
    (tmp_path / "holdfast.yaml").write_text(STACK)
    assert complete(line, tmp_path) == offered


def test_a_wrong_stack_file_offers_nothing(tmp_path):
    (tmp_path / "holdfast.yaml").write_text("stack: [")
    assert complete("holdfast config show -r m", tmp_path) == []
