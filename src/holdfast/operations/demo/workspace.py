"""The directory in which the demo happens: data, repository, stack file, and nothing of it anywhere else."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import NoSpaceError
from holdfast.operations.demo.interruption import interruptions_held_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.local import LocalCluster

_STACK_FILE = """\
stack: demo
repositories:
  main:
    url: {repository}
    passphrase: {{file: {passphrase}}}
services:
  db:
    kind: postgres
    connection: {connection}
    wal:
      spool: {spool}
    restore:
      state: {state}
      server: {{pg_ctl: {{log: {log}, options: "{options}"}}}}
"""
_CACHE = "XDG_CACHE_HOME"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The places in the demo's directory."""

    root: Path

    @property
    def data_directory(self) -> Path:
        """Of the cluster, before and after its destruction."""
        return self.root / "data"

    @property
    def repository(self) -> Path:
        """Where the backups go."""
        return self.root / "repository"

    @property
    def stack_file(self) -> Path:
        """What a user would write."""
        return self.root / "holdfast.yaml"

    def write_stack_file(self, cluster: LocalCluster) -> None:
        """Write the stack file, and a random passphrase to the file that it names."""
        passphrase = self.root / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(18) + "\n")
        self.stack_file.write_text(
            _STACK_FILE.format(
                repository=self.repository,
                passphrase=passphrase,
                connection=cluster.conninfo(),
                spool=self.root / "spool",
                state=self.root / "state",
                log=cluster.log_for_others,
                options=shlex.join(cluster.options),
            )
        )

    def require_room(self, needed_bytes: int) -> None:
        """Raise NoSpaceError when the file system cannot take what the demo writes."""
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < needed_bytes:
            raise NoSpaceError(
                f"{self.root} has {free_bytes >> 20} MiB free; the demo needs {needed_bytes >> 20} MiB",
                hint="make it smaller with --scale, or set TMPDIR to a directory with more room",
            )


@contextmanager
def open_workspace(*, is_kept: bool) -> Iterator[Workspace]:
    """Make the directory; remove it afterwards, whatever happened, unless it is to be kept.

    The repository's local cache is put there too, so that none is left in the user's own.
    """
    root = Path(tempfile.gettempdir()) / f"holdfast-demo-{secrets.token_hex(4)}"  # known before it exists
    cache_before = os.environ.get(_CACHE)
    try:
        root.mkdir(mode=0o755)
        os.environ[_CACHE] = str(root / "cache")
        yield Workspace(root)
    finally:
        with interruptions_held_back():
            _restore_environment(cache_before)
            if not is_kept and root.exists():
                shutil.rmtree(root)


def _restore_environment(cache_before: str | None) -> None:
    if cache_before is None:
        os.environ.pop(_CACHE, None)
    else:
        os.environ[_CACHE] = cache_before
