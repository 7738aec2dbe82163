"""Making a new, empty cluster: for the demo, for tests, and for drills that need something to compare with."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.account import Account, server_account
from holdfast.postgres.segment import DEFAULT_SEGMENT_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

_INITDB_TIMEOUT_S = 120
_BARE_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How to make a cluster. ``settings`` are added to its postgresql.conf."""

    has_checksums: bool = True
    wal_segment_size_bytes: int = DEFAULT_SEGMENT_SIZE_BYTES
    locale: str = "C.UTF-8"
    superuser: str = "postgres"
    settings: Mapping[str, str] = field(default_factory=dict)


def create_cluster(
    binaries: Binaries, data_directory: Path, options: ClusterOptions, account: Account | None = None
) -> None:
    """Make a cluster in ``data_directory``, which is created, or empty. Nothing is fsynced: it holds nothing yet.

    ``account`` owns it (``server_account`` by default) and must be able to reach it. ServerError when initdb fails.
    """
    account = account or server_account(data_directory)
    data_directory.mkdir(mode=0o700, exist_ok=True)
    account.take_over(data_directory)
    answer = subprocess.run(
        _command(binaries, data_directory, options),
        capture_output=True,
        text=True,
        timeout=_INITDB_TIMEOUT_S,
        check=False,
        cwd="/",
        env=_BARE_ENVIRONMENT,
        **account.child_identity(),
    )
    if answer.returncode != 0:
        raise ServerError(
            f"initdb could not make a cluster in {data_directory}",
            hint="the lines above come from initdb; the directory must be empty and reachable for its account",
            details=tuple(answer.stderr.splitlines()[-10:]),
        )
    add_settings(data_directory / "postgresql.conf", options.settings)


def add_settings(path: Path, settings: Mapping[str, str]) -> None:
    """Append settings to a configuration file (manual, section 19.1.2: the last one of a name counts)."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = {quoted_setting(value)}\n" for name, value in settings.items())


def quoted_setting(value: str) -> str:
    """Return a value as configuration files take it: in single quotes, those and backslashes in it doubled."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _command(binaries: Binaries, data_directory: Path, options: ClusterOptions) -> list[str]:
    command = [
        str(binaries.program("initdb")),
        f"--pgdata={data_directory}",
        f"--username={options.superuser}",
        f"--locale={options.locale}",
        "--encoding=UTF8",
        "--auth=trust",
        f"--wal-segsize={options.wal_segment_size_bytes // 2**20}",
        "--no-sync",
    ]
    if options.has_checksums:
        command.append("--data-checksums")
    elif binaries.major >= 18:  # on by default since 18
        command.append("--no-data-checksums")
    return command
