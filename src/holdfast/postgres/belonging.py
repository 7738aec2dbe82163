"""Proof that a data directory is the one of the server that answers: files and facts must be of one server.

The system identifier is not enough: a standby has its primary's, and so has every copy. An address that moves from
host to host with the primary leads the tool on a standby's host to the primary, whose data directory has the same path.
Copied under the primary's start and stop, a standby's files lack what the WAL in between does not bring back: a backup
that is corrupt without a word. So the server is made to write a file, and that must be there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.control import read_control_file
from holdfast.postgres.location import verify_is_data_directory

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.facts import ServerFacts
    from holdfast.postgres.server import Server


_SNAPSHOTS = "pg_snapshots"
_LOOKS = 20
_PAUSE_S = 0.05
"""A network file system may show a new file a little late."""


def is_data_directory_of(server: Server, root: Path) -> bool:
    """Whether what the server writes appears in ``root``; ServerError."""
    with server.exported_snapshot() as name:
        for _ in range(_LOOKS):
            if os.path.lexists(root / _SNAPSHOTS / name):
                return True
            clock.sleep(_PAUSE_S)
    return False


def other_directory(root: Path) -> ServerError:
    """Return what refuses a directory that is not the server's."""
    return ServerError(
        f"{root} is not the data directory of the server that answers",
        hint="correct 'connection' or 'data_directory' of this service; where an address moves with the primary, "
        "name the server of this host instead (host=/run/postgresql)",
    )


def require_data_directory_of(server: Server, facts: ServerFacts, root: Path) -> None:
    """Raise ServerError unless ``root`` is the data directory of the server, and they agree on block sizes."""
    verify_is_data_directory(root)
    control = read_control_file(root)
    if control.system_identifier != facts.system_identifier:
        raise ServerError(
            f"{root} belongs to another cluster (system identifier {control.system_identifier}) than the server "
            f"that answers (system identifier {facts.system_identifier})",
            hint="correct 'connection' or 'data_directory' of this service",
        )
    if not is_data_directory_of(server, root):
        raise other_directory(root)
    on_disk = (control.block_size, control.wal_segment_size, control.relation_segment_blocks)
    said = (facts.block_size, facts.wal_segment_size, facts.relation_segment_blocks)
    if on_disk != said:
        raise ServerError(
            f"pg_control and the server disagree on block and segment sizes: {on_disk} and {said}",
            hint="check that 'connection' and 'data_directory' name the same server",
        )
