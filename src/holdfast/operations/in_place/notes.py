"""What an operator should know before agreeing to a restore in place: what comes back otherwise than it is, or not."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import HoldfastError, ServerError
from holdfast.operations.in_place.wal_home import wal_home, wal_note
from holdfast.operations.recovery.catch_up import remainder_of
from holdfast.operations.wal.receive import slot_name
from holdfast.operations.wiring import connection_string
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.ping import is_taking_connections
from holdfast.postgres.segment import segment_at
from holdfast.restore.target import LatestGoal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack
    from holdfast.operations.recovery.plan import PreparedRecovery
    from holdfast.operations.restore import PreparedRestore
    from holdfast.services.postgres.live import LiveCluster

_LITTLE_BYTES = 1 << 30
_SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE slot_name <> %(own)s AND NOT temporary ORDER BY 1"
_FOLLOWERS = """
SELECT DISTINCT application_name FROM pg_stat_replication
 WHERE state = 'streaming' AND pid NOT IN (SELECT active_pid FROM pg_replication_slots
                                            WHERE slot_name = %(own)s AND active_pid IS NOT NULL) ORDER BY 1
"""


def notes_on(
    stack: Stack, service: str, live: LiveCluster, restore: PreparedRestore, recovery: PreparedRecovery | None
) -> Iterator[str]:
    """Yield the notes, a line each."""
    if live.control is not None and str(live.control.system_identifier) != restore.facts.system_identifier:
        yield "the cluster in service is another one than that of the snapshot (see the system identifier)"
    elif recovery is not None and isinstance(recovery.target.goal, LatestGoal):
        yield from _on_lost_wal(stack, service, live, recovery)
    yield from _on_followers(stack, service)
    yield from _on_room(live, restore, recovery)
    if note := wal_note(live):
        yield note


def _on_lost_wal(stack: Stack, service: str, live: LiveCluster, recovery: PreparedRecovery) -> Iterator[str]:
    """Tell of WAL that a server which is down has not archived, and that could not be taken from it either."""
    if is_taking_connections(connection_string(choose_service(stack, service))):
        return
    try:
        remainder = remainder_of(stack, service, recovery.archived)
    except HoldfastError as error:
        yield f"the server is down, and what it has not archived cannot be told: {error.message}"
        return
    end = recovery.choice.proof.end
    if remainder is not None:
        yield (
            f"the server is down, and its WAL from {remainder.segments[0].start} to {remainder.end} is not archived: "
            f"it is in {remainder.directory}{', and damaged at its end' if remainder.is_damaged else ''}"
        )
    elif live.control is not None and not live.control.is_cleanly_shut_down:
        wanted = segment_at(end, live.control.timeline, live.control.wal_segment_size).name
        if not (live.directory / "pg_wal" / wanted).exists():
            yield (
                f"the server was not stopped in order, and {wanted} is not in its pg_wal: "
                f"what it committed after {end} is not archived, and does not come back"
            )


def _on_room(live: LiveCluster, restore: PreparedRestore, recovery: PreparedRecovery | None) -> Iterator[str]:
    """Tell where little room will be left: the server in service writes there too, and ends where it cannot."""
    grows_bytes = recovery.replayed_bytes if recovery else 0
    left = {room.path: room.free_bytes - room.needed_bytes - grows_bytes for room in restore.plan.rooms}
    if (home := wal_home(live)) is not None:
        left[home] = shutil.disk_usage(home).free
    for path, left_bytes in left.items():
        if left_bytes < _LITTLE_BYTES:
            yield (
                f"{path} may have no more than {max(left_bytes, 0) >> 20} MiB left while this is staged and recovered; "
                "the server in service needs room there, too"
            )


def _on_followers(stack: Stack, service: str) -> Iterator[str]:
    """Tell who follows the server in service, as nobody can follow what takes its place."""
    conninfo = connection_string(choose_service(stack, service))
    if not is_taking_connections(conninfo):
        return
    own = {"own": slot_name(stack, service)}
    try:
        with closing(connect(conninfo)) as connection, translated("asking who follows the server"):
            slots = [name for (name,) in connection.execute(_SLOTS, own).fetchall()]
            followers = [name for (name,) in connection.execute(_FOLLOWERS, own).fetchall()]
    except ServerError:  # perhaps a role was lost, and this is why it is restored
        return
    if slots:
        yield f"replication slots do not come back: {', '.join(slots)}"
    if followers:
        yield f"who follows the server now cannot follow what is restored, and is made anew: {', '.join(followers)}"
