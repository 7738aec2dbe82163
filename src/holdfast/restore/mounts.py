"""What is mounted where: a mount point cannot be renamed or removed, and what is mounted there belongs to others."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def mount_points() -> set[Path]:
    """Return every mount point, bind mounts included (proc(5), mountinfo: field 5, odd characters in octal).

    Empty where the system does not tell, as in some sandboxes: the attempt itself will.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return set()
    return {Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4])) for line in lines}
