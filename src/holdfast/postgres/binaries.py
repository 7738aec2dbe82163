"""Finding the PostgreSQL programs of a major version here: a restored cluster needs its own."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWER_TIMEOUT_S = 20
_VERSION = re.compile(r"postgres \(PostgreSQL\) (([0-9]+)\S*)")

# Where packages install: Debian and Ubuntu; the project's RPMs; a build from source.
_USUAL_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation: its ``bin`` directory, and the version as the server tells it, such as "15.14"."""

    directory: Path
    version: str
    major: int

    def has_program(self, name: str) -> bool:
        """Whether the installation has this program; some have the server's only."""
        return os.access(self.directory / name, os.X_OK)

    def program(self, name: str) -> Path:
        """Return the path of a program; ServerError when the installation lacks it."""
        if not self.has_program(name):
            raise ServerError(
                f"{self.directory} has no {name}",
                hint=f"install the client and server programs of PostgreSQL {self.major}",
            )
        return self.directory / name


def find_binaries(major: int, configured: Path | None = None) -> Binaries | None:
    """Return the first installation of a major version, or None. The ``configured`` directory is looked at first."""
    return next((found for found in _installations(configured) if found.major == major), None)


def list_binaries(configured: Path | None = None) -> tuple[Binaries, ...]:
    """Return every installation: in the ``configured`` directory, in ``PATH``, in the usual places, in this order."""
    return tuple(_installations(configured))


def binaries_in(directory: Path) -> Binaries | None:
    """Return the installation whose ``bin`` directory this is, or None when no server in it tells its version."""
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.match(answer.stdout)
    return Binaries(directory, match[1], int(match[2])) if match else None


def _installations(configured: Path | None) -> Iterator[Binaries]:
    seen: set[Path] = set()
    for directory in _candidates(configured):
        resolved = directory.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        found = binaries_in(resolved)
        if found:
            yield found


def _candidates(configured: Path | None) -> Iterator[Path]:
    if configured is not None:
        yield configured
    for entry in os.get_exec_path():
        server = Path(entry) / "postgres"
        if os.access(server, os.X_OK):
            yield server.resolve().parent
    for pattern in _USUAL_PLACES:
        yield from sorted(Path("/").glob(pattern))
