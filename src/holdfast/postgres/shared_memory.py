"""How much shared memory a server of ours may take that runs beside others, or on a smaller machine than its origin.

A restored cluster's configuration asks for the buffers of the server that it came from. A second server of that size
beside the first one may have the kernel kill either; where there is less memory, it does not start at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.postgres.configured import configured

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


def modest_settings(binaries: Binaries, data_directory: Path) -> dict[str, str]:
    """Return a smaller ``shared_buffers`` where the cluster's own is more than this machine can spare; else nothing."""
    wanted, available = _configured_bytes(binaries, data_directory), _available_bytes()
    if wanted is None or available is None:
        return {}
    affordable = max(available // _SHARE, _LEAST_BYTES)
    return {"shared_buffers": str(affordable // _BLOCK_BYTES)} if wanted > affordable else {}


def _configured_bytes(binaries: Binaries, data_directory: Path) -> int | None:
    blocks = configured(binaries, data_directory, "shared_buffers")
    return int(blocks) * _BLOCK_BYTES if blocks is not None and blocks.isdecimal() else None


def _available_bytes() -> int | None:
    """Return what the kernel thinks can be had without swapping (proc(5)); None where it does not say."""
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(_AVAILABLE)]
    return int(found[0]) << 10 if found else None
