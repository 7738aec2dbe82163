"""How much shared memory a server of ours may take that runs beside others, or on a smaller machine than its origin.

A restored cluster's configuration asks for the buffers of the server that it came from. A second server of that size
beside the first one may have the kernel kill either; where there is less memory, it does not start at all.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.postgres.account import server_account

if TYPE_CHECKING:
    from holdfast.postgres.binaries import Binaries

_MEMORY = Path("/proc/meminfo")
_AVAILABLE = "MemAvailable:"
_SHARE = 4
"""Of the memory that is available, the part that buffers may take."""
_LEAST_BYTES = 128 << 20
"""PostgreSQL's own default."""
_BLOCK_BYTES = 8192
"""What ``shared_buffers`` counts in (``BLCKSZ``)."""
_TIMEOUT_S = 30


def modest_settings(binaries: Binaries, data_directory: Path) -> dict[str, str]:
    """Return a smaller ``shared_buffers`` where the cluster's own is more than this machine can spare; else nothing."""
    wanted, available = _configured_bytes(binaries, data_directory), _available_bytes()
    if wanted is None or available is None:
        return {}
    affordable = max(available // _SHARE, _LEAST_BYTES)
    return {"shared_buffers": str(affordable // _BLOCK_BYTES)} if wanted > affordable else {}


def _configured_bytes(binaries: Binaries, data_directory: Path) -> int | None:
    """Return what the cluster's own configuration says (manual, ``postgres -C``); None where it does not tell."""
    command = [str(binaries.program("postgres")), "-D", str(data_directory), "-C", "shared_buffers"]
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
    blocks = answer.stdout.strip()
    return int(blocks) * _BLOCK_BYTES if answer.returncode == 0 and blocks.isdecimal() else None


def _available_bytes() -> int | None:
    """Return what the kernel thinks can be had without swapping (proc(5)); None where it does not say."""
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(_AVAILABLE)]
    return int(found[0]) << 10 if found else None
