"""The replication slot that keeps WAL on the server until it is in the repository.

A slot that holds nothing was invalidated (``max_slot_wal_keep_size``) or never held anything: making it anew loses
nothing. One that is missing may have been dropped by somebody, and then WAL may be lost already.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.postgres.replication_refusals import SlotExistsError, SlotInvalidError, SlotMissingError

if TYPE_CHECKING:
    from holdfast.postgres.replication import ReplicationConnection, SlotPosition
    from holdfast.progress import Reporter


@dataclass(frozen=True)
class SlotWish:
    """The slot's name, and whether it is made when it is missing or holds nothing."""

    name: str
    is_made: bool


def prepared_slot(connection: ReplicationConnection, wish: SlotWish, reporter: Reporter) -> SlotPosition | None:
    """Return what the slot holds, having made it if need be and wished.

    SlotMissingError and SlotInvalidError where it is not wished.
    """
    if not connection.tells_slot_position:
        if wish.is_made:
            with suppress(SlotExistsError):
                connection.create_slot(wish.name)
        return None
    try:
        position = connection.slot_position(wish.name)
    except SlotMissingError:
        if not wish.is_made:
            raise
        return _made(connection, wish.name, reporter)
    if position is not None:
        return position
    if not wish.is_made:
        raise SlotInvalidError(
            f"the replication slot {wish.name} holds no WAL: it fell too far behind, or never held any",
            hint="with --create-slot it is made anew; then take a new base backup, as WAL may be lost",
        )
    reporter.warning(f"the replication slot {wish.name} holds no WAL and is made anew")
    connection.drop_slot(wish.name)
    return _made(connection, wish.name, reporter)


def _made(connection: ReplicationConnection, name: str, reporter: Reporter) -> SlotPosition | None:
    connection.create_slot(name)
    crashpoint.reach(CrashPoint.RECEIVE_SLOT_MADE)
    reporter.notice(f"made the replication slot {name}")
    return connection.slot_position(name)
