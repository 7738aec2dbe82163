"""What a cluster's own configuration says, asked of ``postgres -C`` (manual, page "postgres"): no server has to run."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from holdfast.postgres.account import server_account

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

_TIMEOUT_S = 30


def configured(binaries: Binaries, data_directory: Path, name: str) -> str | None:
    """Return the value of a setting as the server would have it; None where the configuration does not tell."""
    command = [str(binaries.program("postgres")), "-D", str(data_directory), "-C", name]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            cwd="/",
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            **server_account(data_directory).child_identity(),
        )
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
