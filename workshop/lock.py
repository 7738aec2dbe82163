"""The lock files: ``write`` resolves the dependencies, ``check`` says without any network whether a lock is stale.

Stale means that pyproject.toml's dependencies have changed since: a digest of them stands in the lock's first line.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "workshop/go.lock")
OPTIONS = (
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
)
QUIETLY = ("--no-annotate", "--no-header", "--quiet")


def first_line() -> str:
    """Return the first line of both locks for pyproject.toml as it is now."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [project["project"]["dependencies"], project["project"]["requires-python"], project["dependency-groups"]]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    return f"# Written by 'make lock' for the dependencies {digest}; do not edit.\n"


def write() -> None:
    """Resolve anew. A package stays at its locked version while that fits; delete the lock to renew them all."""
    resolve("requirements.lock", "pyproject.toml", "--group", "dev")
    resolve("workshop/go.lock", "--group", "go")


def resolve(lock: str, *sources: str) -> None:
    """Resolve one set of requirements into one lock file, with the hash of every file that may be installed."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    command = ["uv", "pip", "compile", *sources, *OPTIONS, *QUIETLY, "--output-file", lock]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    path = ROOT / lock
    path.write_text(first_line() + path.read_text())


def check() -> None:
    """End with a complaint when a lock is not for the present dependencies."""
    stale = [lock for lock in LOCKS if not (ROOT / lock).read_text().startswith(first_line())]
    if stale:
        sys.exit(f"{', '.join(stale)}: stale; run 'make lock'")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]]()
