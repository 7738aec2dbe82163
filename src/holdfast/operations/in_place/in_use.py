"""Whether what is parked is in use after all: people start a checkpoint to look into it, or move one back by hand.

A checkpoint that was moved back by hand leaves its tablespaces, and its WAL, where they were parked: its links lead
there. To delete them with the checkpoint would destroy what is in service.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.postgres.running import servers_using
from holdfast.services.postgres.live import tablespace_links

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.restore.exchange import Parked

_WAL = "pg_wal"


def require_no_server(parked: Parked) -> None:
    """Raise UsageError when a server runs in one of the directories, or uses one of them, as far as we may see."""
    for place in parked.places:
        if users := servers_using(place):
            raise UsageError(
                f"{place} is in use by the running server of {users[0]}",
                hint="if somebody started it to look into it, stop it first",
            )


def require_not_in_service(parked: Parked, home: Path, record: Path) -> None:
    """Raise UsageError when what is in service at ``home`` leads to one of the directories.

    ``record`` is the file that says that they are parked.
    """
    used = {os.path.realpath(path) for path in (*tablespace_links(home).values(), home / _WAL)}
    for place in parked.places:
        if os.path.realpath(place) in used:
            raise UsageError(
                f"{place} is in service: {home} leads there",
                hint=f"somebody brought it back by hand; to have it forgotten, and nothing deleted, remove {record}",
            )
