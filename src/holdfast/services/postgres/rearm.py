"""Making a restored cluster fit to take its origin's place: what the restore switched off in it is as it was again.

Only for a cluster that is to be in service under its own name, on a timeline of its own: two clusters that write the
same timeline into one archive would spoil it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from holdfast.services.postgres.layout import MADE_BY_US, RESTORED_SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

_AUTO_CONF = "postgresql.auto.conf"
_CONFIGURATION = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")


def restore_settings(data_directory: Path) -> None:
    """Remove the lines with which the restore switched archiving and subscriptions off, durably."""
    path = data_directory / _AUTO_CONF
    head, found, tail = path.read_text(encoding="utf-8", errors="surrogateescape").rpartition(RESTORED_SETTINGS)
    if found:
        _replace(path, head + tail)


def remove_makeshift_configuration(data_directory: Path) -> None:
    """Remove the configuration files that the restore made because the cluster keeps its own elsewhere."""
    for name in _CONFIGURATION:
        path = data_directory / name
        if path.is_file() and path.read_bytes().startswith(MADE_BY_US.encode()):
            path.unlink()


def differing_configuration(one: Path, other: Path) -> list[str]:
    """Return the names of configuration files that two data directories both have, with different content."""
    both = [name for name in _CONFIGURATION if (one / name).is_file() and (other / name).is_file()]
    return [name for name in both if (one / name).read_bytes() != (other / name).read_bytes()]


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step, durably; it keeps its owner and its mode."""
    status = path.stat()
    new = path.with_name(path.name + ".holdfast-new")
    with new.open("w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
        if os.geteuid() == 0:
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
