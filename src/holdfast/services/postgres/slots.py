"""The receiver's replication slot in a cluster that takes over: snapshots carry none.

Without it the server may recycle the first WAL of its new timeline before the receiver has come back, and the archive
would have a gap right where the new timeline begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import one_row
from holdfast.services.postgres.health import powerful

if TYPE_CHECKING:
    from holdfast.services.postgres.health import PrivateServer

_HAS_SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %(name)s"
_MAKE_SLOT = "SELECT pg_create_physical_replication_slot(%(name)s, true)"


def reserve_slot(server: PrivateServer, name: str) -> None:
    """Make a physical slot that holds WAL from now on, unless there is one; ServerError when there may be no more."""
    with connect(powerful(server).reach("postgres")) as connection, translated(f"making the replication slot {name}"):
        if not one_row(connection, _HAS_SLOT, {"name": name})[0]:
            one_row(connection, _MAKE_SLOT, {"name": name})
